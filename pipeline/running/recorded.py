"""What `dvc.lock` records of the artifacts."""

from pathlib import Path

import yaml

from pipeline.errors import RunError

DVC_LOCK = Path("dvc.lock")


def read_outputs(tree: Path) -> dict[str, str]:
    """Return the MD5 of every output of every stage by its path; that of a folder ends in '.dir'.

    Raises:
        RunError: there is no `dvc.lock`, or it is not whole: it holds a merge conflict, or DVC was
            killed while it wrote it.
    """
    try:
        text = (tree / DVC_LOCK).read_text(encoding="utf-8")
        stages = yaml.safe_load(text)["stages"].values()
        outputs = {out["path"]: out["md5"] for stage in stages for out in stage.get("outs", [])}
        parts = [part for stage in stages for part in (stage, stage.get("params", {}))]
        whole = text.endswith("\n") and not any(None in part.values() for part in parts)
    except FileNotFoundError:
        raise RunError(f"{DVC_LOCK}: no such file; 'aso-se run' makes it") from None
    except (ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError):
        whole = False
    if not whole:
        raise RunError(f"{DVC_LOCK}: damaged; 'aso-se run' repairs it")
    return outputs
