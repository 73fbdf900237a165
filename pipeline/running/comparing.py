"""Compare what DVC recorded of a run with what its stages wrote, and strike out what differs.

DVC hashes the files of a stage after it has ended. Where another command has replaced one by then,
`dvc.lock` and DVC's cache of runs hold a result that nothing computed.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.console.guarding import Record, read_records
from pipeline.harness.errors import RunError
from pipeline.running.experiments import dvc
from pipeline.running.recorded import FOLDER, read_stages, strike_out

Stages = Mapping[str, Mapping[str, Any]]
"""Record in `dvc.lock` of each stage."""


def read_lock(tree: Path) -> Stages:
    """Return what `dvc.lock` records; nothing if it is missing, or damaged by a kill."""
    with suppress(RunError):
        return read_stages(tree)
    return {}


def strike_out_wrong(tree: Path, before: Stages, runner: int) -> list[str]:
    """Remove the record of each stage whose files DVC did not record as they were.

    Args:
        tree: a clone, whose lock the caller holds.
        before: what `dvc.lock` recorded before DVC began.
        runner: number of the process of DVC, which has ended.

    Returns:
        A line about each stage that is now without a record, so that it runs again.
    """
    records = read_records(tree, runner)
    if not records:
        return []
    stages, lines = read_lock(tree), []
    for record in records:
        recorded = stages.get(record.stage)
        # DVC records nothing of a stage that failed after it had written its files.
        if recorded is None or recorded == before.get(record.stage):
            continue
        if path := next(_wrong(record, recorded, stages), None):
            _forget(tree, record.stage, recorded)
            lines.append(
                f"{path}: another command replaced it before DVC recorded {record.stage}, whose"
                " record is removed; run 'aso-se run' again, and no 'dvc checkout', 'dvc pull' or"
                " 'dvc exp apply' meanwhile"
            )
    return lines


def _wrong(record: Record, recorded: Mapping[str, Any], stages: Stages) -> Iterator[str]:
    """Yield each output that DVC found other than the stage wrote it, and each input likewise."""
    for out in recorded.get("outs", ()):
        if out["md5"] != _digest(out["path"], record):
            yield out["path"]
    outs = {out["path"]: out["md5"] for one in stages.values() for out in one.get("outs", ())}
    for dep in recorded.get("deps", ()):
        if outs.get(dep["path"], dep.get("md5")) != dep.get("md5"):
            yield dep["path"]


def _digest(path: str, record: Record) -> str:
    """Return the digest that DVC gives to a file or a folder if it is as it was written."""
    if path in record.files:
        return record.files[path].md5
    listed = [
        {"md5": written.md5, "relpath": name.removeprefix(f"{path}/")}
        for name, written in sorted(record.files.items())
        if name.startswith(f"{path}/")
    ]
    listing = json.dumps(listed, sort_keys=True).encode()
    return hashlib.md5(listing, usedforsecurity=False).hexdigest() + FOLDER


def _forget(tree: Path, stage: str, recorded: Mapping[str, Any]) -> None:
    """Remove a stage from `dvc.lock`, and this result of it from DVC's cache of runs."""
    strike_out(tree, [stage])
    wrong = _told(recorded)
    for path in (tree / dvc(tree, "cache", "dir") / "runs").glob("*/*/*"):
        with suppress(FileNotFoundError):  # another tree shares the cache
            if _told(YAML(typ="safe").load(path.read_text(encoding="utf-8"))) == wrong:
                path.unlink(missing_ok=True)
                with suppress(OSError):  # other results of the same inputs are there
                    path.parent.rmdir()  # DVC fails where it is empty


def _told(recorded: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what a record, or an entry of DVC's cache of runs, says of params, deps and outs."""
    digests = [
        {one["path"]: one.get("md5") for one in recorded.get(kind, ())} for kind in ("deps", "outs")
    ]
    return recorded.get("params"), *digests
