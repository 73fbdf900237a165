"""Let DVC find a result that its cache of runs has, where `dvc.lock` records one that it has not.

DVC looks into its cache of runs only for a stage whose inputs differ from those in `dvc.lock`.
Where that was committed on another kind of CPU, the inputs are equal and the results are nowhere,
so DVC would compute again what a clone beside this one has computed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.running.comparing import read_lock
from pipeline.running.experiments import dvc
from pipeline.running.recorded import strike_out


def make_way(tree: Path) -> None:
    """Remove the record of each stage whose result is nowhere, if the cache of runs has another.

    The caller holds the tree's lock.
    """
    absent = {
        name: one
        for name, one in read_lock(tree).items()
        if not all((tree / out["path"]).exists() for out in one.get("outs", ()))
    }
    if not absent:
        return
    cache = tree / dvc(tree, "cache", "dir")
    lost = {name: one for name, one in absent.items() if not _is_there(cache, one)}
    if not lost:
        return
    known = [
        YAML(typ="safe").load(path.read_text(encoding="utf-8"))
        for path in (cache / "runs").glob("*/*/*")
    ]
    inputs = [_inputs(one) for one in known if _is_there(cache, one)]
    if found := [name for name, one in lost.items() if _inputs(one) in inputs]:
        strike_out(tree, found)


def _is_there(cache: Path, recorded: Mapping[str, Any]) -> bool:
    """Whether DVC's cache has all that a record names."""
    digests = [out["md5"] for out in recorded.get("outs", ())]
    return all((cache / "files" / "md5" / one[:2] / one[2:]).exists() for one in digests)


def _inputs(recorded: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what a result depends on: the command, the params, and the digests of files."""
    deps = {one["path"]: one.get("md5") for one in recorded.get("deps", ())}
    return recorded.get("cmd"), recorded.get("params"), deps
