"""What `dvc.lock` records of the stages and their artifacts."""

from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.harness.errors import RunError
from pipeline.harness.files import write_atomically

DVC_LOCK = Path("dvc.lock")
FOLDER = ".dir"
"""Suffix of the digest of a folder, whose object in the cache is a list of its files."""


def read_stages(tree: Path) -> dict[str, dict[str, Any]]:
    """Return the record of each stage: `outs` with their MD5, `params` by file, and more.

    Raises:
        RunError: `dvc.lock` is missing or damaged: it has a merge conflict, or DVC was killed while
            writing it.
    """
    try:
        text = (tree / DVC_LOCK).read_text(encoding="utf-8")
        stages: dict[str, dict[str, Any]] = YAML(typ="safe").load(text)["stages"]
        outs = [out for stage in stages.values() for out in stage.get("outs", [])]
        parts = [part for one in stages.values() for part in (one, one.get("params", {}))]
        whole = text.endswith("\n") and not any(None in part.values() for part in parts)
        whole &= all({"path", "md5"} <= out.keys() for out in outs)
    except FileNotFoundError:
        raise RunError(f"{DVC_LOCK}: no such file; 'aso-se run' makes it") from None
    except (ValueError, LookupError, TypeError, AttributeError, YAMLError):
        whole = False
    if not whole:
        raise RunError(f"{DVC_LOCK}: damaged; 'aso-se run' repairs it")
    return stages


def read_outputs(tree: Path) -> dict[str, str]:
    """Return the MD5 of every output of every stage by its path; that of a folder ends in '.dir'.

    Raises:
        RunError: as in `read_stages`.
    """
    stages = read_stages(tree).values()
    return {out["path"]: out["md5"] for stage in stages for out in stage.get("outs", [])}


def strike_out(tree: Path, names: Iterable[str]) -> None:
    """Remove the records of these stages from `dvc.lock`, which is whole."""
    path, yaml, text = tree / DVC_LOCK, YAML(), StringIO()
    document = yaml.load(path.read_text(encoding="utf-8"))
    for name in names:
        del document["stages"][name]
    yaml.dump(document, text)
    write_atomically(path, text.getvalue().encode())
