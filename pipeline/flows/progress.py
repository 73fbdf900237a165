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
    """The progress artifact of each stage, made after its first epoch; stages without have none.

    Made before the run begins: what the histories hold then is of earlier runs.
    """

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
        self._artifacts: dict[str, UUID] = {}
        self._known = {stage: self._rows(stage) for stage in epochs}

    def look(self, stage: str) -> bool:
        """Show new rows in the history of a stage; return whether to give the run up."""
        if stage not in self._epochs:
            return False
        before, rows = self._known[stage], self._rows(stage)
        self._known[stage] = rows
        new = rows[len(before) :] if rows[: len(before)] == before else rows
        if not new:
            return False
        self._show(stage, len(rows), rows[-1])
        return self._on_epoch is not None and any(self._on_epoch(stage, row) for row in new)

    def _rows(self, stage: str) -> list[dict[str, str]]:
        path = self._tree / PROGRESS / f"{stage}.tsv"
        if not path.exists():
            return []
        with path.open(encoding="utf-8") as file:
            return list(csv.DictReader(file, delimiter="\t"))

    def _show(self, stage: str, done: int, row: Mapping[str, str]) -> None:
        total = self._epochs[stage]
        percent = 100 * done / total
        given = {key: round(float(row[key]), 3) for key in SHOWN if row.get(key)}
        shown = [f"{key.replace('_', ' ')} {value:g}" for key, value in given.items()]
        description = f"{stage}, epoch {done} of {total}: {', '.join(shown)}"
        if stage not in self._artifacts:
            key = re.sub(r"[^a-z0-9]+", "-", f"progress-{stage}".lower())
            made = create_progress_artifact(percent, key, description)
            assert isinstance(made, UUID)
            self._artifacts[stage] = made
        else:
            update_progress_artifact(self._artifacts[stage], percent, description)
