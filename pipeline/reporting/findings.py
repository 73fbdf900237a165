"""The results of the stages, all read before anything is drawn.

Model and images have checksums and are refused if a bit differs. Histories and JSON files have
none, because DVC reruns their stage if they differ from `dvc.lock`; here they must only be valid.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.comparison.references import References, read_references
from pipeline.costing.cost import cost
from pipeline.events.event import Event, read_events
from pipeline.harness.errors import CheckpointError, ReportError
from pipeline.harness.metrics import required
from pipeline.harness.records import Row
from pipeline.prepared.facts import DatasetFacts, read_facts
from pipeline.prepared.packing import read_split
from pipeline.reporting.documents import Defaults, ExportMetrics, Finals, Growths, SearchMetrics
from pipeline.reporting.files import AGAIN, read_json
from pipeline.reporting.histories import SHARE, read_history
from pipeline.reporting.photos import Photo, Place, read_photos
from pipeline.reporting.predictions import (
    Prediction,
    Suspect,
    beside_examples,
    read_predictions,
    read_suspects,
)
from pipeline.reporting.preferences import Preference, read_preferences
from pipeline.space.blueprint import Blueprint
from pipeline.space.description import read_description
from pipeline.space.genotype import Genotype

SEARCHING_PHASES = ("search", "growth")
SUPERNET_PHASES = ("warmup", *SEARCHING_PHASES)
PHASES = (*SUPERNET_PHASES, "optimize")
MOST_SHOWN = 24
"""Largest number of suspects that are shown, and of mistakes and examples beside them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Everything that the report shows.

    histories: phase -> one row per epoch. preferences: of each edge after each epoch of search and
    growth, in order. predictions: for the test images, in their order.
    suspects: images that are most likely mislabelled, the likeliest first. photos: the images that
    are shown. finalists: a row per epoch of each finalist of the search. failed: finalists that
    left, and why. winner: number of the best finalist, None without finalists. metrics: metrics of
    derive. search, parity: metrics of search and of export. references: models to compare with.
    defaults: of all params. digest: sha256 of derive's model.
    """

    dataset: DatasetFacts
    predictions: Sequence[Prediction]
    suspects: Sequence[Suspect]
    photos: Mapping[Place, Photo]
    blueprint: Blueprint
    genotype: Genotype
    histories: Mapping[str, Sequence[Row]]
    preferences: Sequence[Preference]
    finalists: Sequence[Row]
    failed: Sequence[Row]
    winner: int | None
    growths: Sequence[Event]
    metrics: Mapping[str, Any]
    search: Mapping[str, Any]
    parity: Mapping[str, Any]
    references: References
    defaults: Mapping[str, Any]
    digest: str

    def column(self, name: str, phases: Sequence[str] = PHASES) -> tuple[list[float], list[float]]:
        """Return the epochs with a value in a column, and the values."""
        rows = [row for phase in phases for row in self.histories[phase] if name in row]
        return [float(row["epoch"]) for row in rows], [float(row[name]) for row in rows]

    def confusion(self) -> NDArray[np.int64]:
        """Return (K, K) numbers of test images, by actual and predicted class."""
        count = len(self.dataset.classes)
        matrix = np.zeros((count, count), np.int64)
        for prediction in self.predictions:
            matrix[prediction.actual, prediction.predicted] += 1
        return matrix


def read_findings(artifacts: Path, originals: Path) -> Findings:
    """Read the results of every stage under `artifacts`. originals: folder of the user's images.

    Raises:
        ReportError, CheckpointError, DataError: a file is missing, damaged or of another run.
    """
    dataset = read_facts(artifacts / "prepare")
    test = read_split(artifacts / "prepare", "test")
    predictions = read_predictions(
        artifacts / "derive" / "confusion.tsv", dataset.classes, test.labels.tolist()
    )
    suspects = read_suspects(artifacts / "derive" / "suspects.csv", dataset)
    pairs = beside_examples(predictions)[: MOST_SHOWN // 2]
    shown: list[Place] = [("test", one) for pair in pairs for one in pair if one is not None]
    shown += [(one.split, one.index) for one in suspects[:MOST_SHOWN]]
    model = artifacts / "derive" / "model.safetensors"
    derived = read_description(model)
    derived.require_fit("derive", channels=dataset.channels, classes=len(dataset.classes))
    blueprint, genotype = derived.blueprint, derived.decided()
    metrics = derived.measured(dataset.classes)
    parameters = cost(blueprint, genotype, (dataset.height, dataset.width)).parameters
    if parameters != metrics["parameters"]:  # its tensors, which would tell, are not read
        raise CheckpointError(
            f"{model}: of a network of {parameters:,} parameters, measured were"
            f" {metrics['parameters']:,}; {AGAIN}"
        )
    shares = [SHARE + name for name in blueprint.operations]
    columns = {
        "warmup": [*required("supernet"), *shares],
        **{phase: [*required("search"), *shares] for phase in SEARCHING_PHASES},
        "optimize": required("all"),
    }
    finals = _read_finals(artifacts / "search" / "finalists.json")
    histories = {
        phase: read_history(artifacts / phase / "history.tsv", columns[phase]) for phase in PHASES
    }
    return Findings(
        dataset=dataset,
        predictions=predictions,
        suspects=suspects,
        photos=read_photos(artifacts / "prepare", originals, shown, {"test": test}),
        blueprint=blueprint,
        genotype=genotype,
        histories=histories,
        preferences=[
            one
            for phase in SEARCHING_PHASES
            for one in read_preferences(
                artifacts / phase / "edges.tsv", blueprint, histories[phase]
            )
        ],
        finalists=finals["epochs"],
        failed=finals.get("failed", []),
        winner=finals["winner"],
        growths=read_events(read_json(artifacts / "growth" / "growth.json", Growths)["events"]),
        metrics=metrics,
        search=read_json(artifacts / "search" / "metrics.json", SearchMetrics),
        parity=read_json(artifacts / "export" / "metrics.json", ExportMetrics),
        references=read_references(artifacts / "reference" / "references.json"),
        defaults=read_json(artifacts / "check" / "defaults.json", Defaults),
        digest=hashlib.sha256(model.read_bytes()).hexdigest(),
    )


def _read_finals(path: Path) -> dict[str, Any]:
    finals = read_json(path, Finals)
    rows, winner = finals["epochs"], finals["winner"]
    if rows and winner not in {row["finalist"] for row in rows}:  # the only one left has no rows
        raise ReportError(f"{path}: finalist {winner}, who wins, is not in the list; {AGAIN}")
    return finals
