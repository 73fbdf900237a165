"""Progress of a stage, read from the history that it writes; stages know nothing of this."""

import csv
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from pipeline.harness.places import PROGRESS

SHOWN = ("train_accuracy", "validation_accuracy", "temperature", "entropy", "images_per_second")


class Progress:
    """The progress artifact of a stage, made after its first epoch; stages without have none."""

    def __init__(
        self,
        tree: Path,
        epochs: Mapping[str, int],
        on_epoch: Callable[[str, Mapping[str, str]], bool] | None,
    ) -> None:
        """Watch the histories of a tree; epochs: number of epochs of each stage."""
        self._tree = tree
        self._epochs = epochs
        self._on_epoch = on_epoch
        self._artifact: UUID | None = None
        self._seen = {path: path.stat().st_mtime_ns for path in (tree / PROGRESS).glob("*.tsv")}

    def look(self, stage: str) -> bool:
        """Show new rows in the history of a stage; return whether to give the run up."""
        path = self._tree / PROGRESS / f"{stage}.tsv"
        if stage not in self._epochs or not path.exists():
            return False
        changed = path.stat().st_mtime_ns
        if self._seen.get(path) == changed:
            return False
        self._seen[path] = changed
        with path.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        self._show(stage, len(rows), rows[-1])
        return bool(self._on_epoch and self._on_epoch(stage, rows[-1]))

    def _show(self, stage: str, done: int, row: Mapping[str, str]) -> None:
        total = self._epochs[stage]
        percent = 100 * done / total
        given = {key: round(float(row[key]), 3) for key in SHOWN if row.get(key)}
        shown = [f"{key.replace('_', ' ')} {value:g}" for key, value in given.items()]
        description = f"{stage}, epoch {done} of {total}: {', '.join(shown)}"
        if self._artifact is None:
            key = re.sub(r"[^a-z0-9]+", "-", f"progress-{stage}".lower())
            made = create_progress_artifact(percent, key, description)
            assert isinstance(made, UUID)
            self._artifact = made
        else:
            update_progress_artifact(self._artifact, percent, description)
