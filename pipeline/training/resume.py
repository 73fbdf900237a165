"""Resume points: the state of a stage after each epoch, so that a killed run loses at most one.

They are outside the outputs, which DVC deletes before it reruns a stage. The name of their folder
begins with a hash of everything the result depends on: a point of other params, inputs or code is
not found. The whole hash is in each file too, so that one that was copied there is not used.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ConfigDict, TypeAdapter
from torch import Tensor

from pipeline.console.progress import say
from pipeline.console.stage import code_in_use
from pipeline.devices.device import compiles
from pipeline.harness import ranks
from pipeline.harness.errors import CheckpointError
from pipeline.harness.files import write_atomically
from pipeline.harness.lacks import lack
from pipeline.harness.places import RESUME
from pipeline.harness.records import Row
from pipeline.harness.section import Section
from pipeline.space.checkpoint import decode, encode

KEPT_POINTS = 2
KEPT_RUNS = 8
"""Number of folders kept per stage, for abandoned runs and running experiments."""
TENSOR = "tensor"
FACTS = {"format", "run", "state", "rows", "machine"}
ROWS = TypeAdapter(list[Row], config=ConfigDict(strict=True))

Snapshot = dict[str, Any]
"""State as nested dicts and lists of tensors and JSON values."""


@dataclass(frozen=True, slots=True)
class Points:
    """The resume points of one stage with its current params, inputs and code.

    fingerprint: hash of all that the result depends on.
    """

    stage: str
    folder: Path
    fingerprint: str = ""

    @property
    def run(self) -> str:
        """Whose points these are, as each file says it."""
        return f"{self.stage}-{self.fingerprint}"

    def newest(self) -> tuple[Snapshot | None, list[Row]]:
        """Return the newest intact snapshot and the rows up to it, or None and [].

        A file that holds none of this run is renamed, so that it is not kept in the place of one.

        Raises:
            CheckpointError: the machine lacks what it takes to read a point, which may be intact.
        """
        for path in sorted(self.folder.glob("*.safetensors"), reverse=True):
            try:
                snapshot, rows, began_on = self._read(path)
            except CheckpointError as error:
                if lack(error):
                    raise
                say(f"{error}: skipped")
                if ranks.is_first():
                    with suppress(FileNotFoundError):
                        path.rename(path.with_suffix(".skipped"))
                continue
            if began_on != machine():
                say(f"{self.stage}: this run began on {began_on}: the last bits may differ")
            return snapshot, rows
        return None, []

    def _read(self, path: Path) -> tuple[Snapshot, list[Row], str]:
        """Return the snapshot of a point, the rows up to it, and the machine it was made on."""
        tensors, facts = decode(path)
        try:
            if facts["run"] != self.run:
                raise CheckpointError(f"{path}: of a run with other params, inputs or code")
            rows = ROWS.validate_python(facts["rows"])
            if len(rows) != int(path.stem) or facts.keys() != FACTS:
                raise ValueError(f"{len(rows)} epochs, {sorted(facts)}")  # noqa: TRY301
            return _join(facts["state"], tensors), rows, str(facts["machine"])
        except (LookupError, TypeError, ValueError):
            raise CheckpointError(f"{path}: not a resume point") from None

    def after_each(
        self, rows: Iterator[Row], before: list[Row], snapshot: Callable[[], Snapshot]
    ) -> Iterator[Row]:
        """Yield the rows; before each, write a resume point of `snapshot()`.

        before: rows of the earlier epochs.
        """
        done = list(before)
        for row in rows:
            done.append(row)
            tensors: dict[str, Tensor] = {}
            state = _split(snapshot(), "state", tensors)
            facts = {"run": self.run, "state": state, "rows": done, "machine": machine()}
            path = self.folder / f"{len(done):05}.safetensors"
            write_atomically(path, encode(tensors, facts))
            for old in sorted(self.folder.glob("*.safetensors"))[:-KEPT_POINTS]:
                if ranks.is_first():
                    old.unlink(missing_ok=True)  # another run of the same may be here too
            yield row

    def of(self, part: str) -> "Points":
        """Return the points of a part of the stage, which go when the stage's own go."""
        return Points(part, self.folder / part, self.fingerprint)

    def remove(self) -> None:
        """Remove all points; call this when the stage has succeeded."""
        if not ranks.is_first():
            return
        shutil.rmtree(self.folder, ignore_errors=True)


def resume_points(stage: str, params: Section, *inputs: Path) -> Points:
    """Return the resume points of a stage; remove the oldest folders of its other runs.

    inputs: files and whole folders that the result depends on.
    """
    root = _root()
    fingerprint = _fingerprint(params, inputs)
    folder = root / f"{stage}-{fingerprint[:16]}"
    others = {}
    for path in root.glob(f"{stage}-*"):
        with suppress(FileNotFoundError):  # another run, which shares this folder, has ended
            others[path] = path.stat().st_mtime
    others.pop(folder, None)
    for old in sorted(others, key=others.__getitem__)[: -KEPT_RUNS + 1]:
        shutil.rmtree(old, ignore_errors=True)
    return Points(stage, folder, fingerprint)


def machine() -> str:
    """Return the machine settings that can change the last bits of a result."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    device = os.environ.get("ASO_SE_DEVICE", "auto").partition(":")[0]
    kind = accelerator or "cpu" if device in {"", "auto"} else device
    processes = f", {ranks.count()} processes" if ranks.count() > 1 else ""
    precision = f", {named}" if (named := os.environ.get("ASO_SE_PRECISION")) else ""
    compiled = ", compiled" if compiles() else ""
    threads = f"{torch.get_num_threads()} threads"
    return f"torch {torch.__version__}, {kind}, {threads}{processes}{precision}{compiled}"


def _root() -> Path:
    """Return the folder of all points, which outlives the current directory of an experiment."""
    if named := os.environ.get("ASO_SE_RESUME"):
        return Path(named)
    return Path(os.environ.get("DVC_ROOT", ".")) / RESUME


def _fingerprint(params: Section, inputs: tuple[Path, ...]) -> str:
    digest = hashlib.sha256(params.model_dump_json().encode())
    for given in inputs:
        for path in sorted(given.rglob("*")) if given.is_dir() else [given]:
            if path.is_file() and not path.name.startswith("."):  # DVC writes .gitignore
                digest.update(f"{path}\0".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    for name, of_code in sorted(code_in_use().items()):
        digest.update(f"{name}\0{of_code}\0".encode())
    return digest.hexdigest()


def _split(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Return `value` as JSON values; move its tensors to `tensors` and leave their names."""
    if isinstance(value, Tensor):
        tensors[name] = value.detach()
        return {TENSOR: name}
    if isinstance(value, Mapping):
        return {key: _split(one, f"{name}.{key}", tensors) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_split(one, f"{name}.{number}", tensors) for number, one in enumerate(value)]
    return value


def _join(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, dict):
        if value.keys() == {TENSOR}:
            return tensors[value[TENSOR]]
        return {key: _join(one, tensors) for key, one in value.items()}
    return [_join(one, tensors) for one in value] if isinstance(value, list) else value
