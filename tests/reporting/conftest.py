"""Tiny invented results of the stages, as files, because the report reads files."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.transforms import Bbox, BboxBase

from pipeline.alternating import edges
from pipeline.comparison.references import Reference, References, Skipped, write_references
from pipeline.costing.cost import cost
from pipeline.deriving.suspects import Suspect, write_suspects
from pipeline.growing.blueprints import deepen
from pipeline.harness.records import Row, write_history, write_json
from pipeline.params import Params
from pipeline.prepared.labelled import Labelled, Splits
from pipeline.prepared.packing import write_dataset
from pipeline.reporting.findings import SEARCHING_PHASES, Findings, read_findings
from pipeline.space.blueprint import Blueprint, CellPlan
from pipeline.space.checkpoint import Checkpoint, write_checkpoint
from pipeline.space.genotype import Architecture, Gene, Genotype
from pipeline.space.network import build
from pipeline.space.registry import SPACES
from tests.conftest import blueprints, genotypes

NOWHERE = Path("no photos")
"""The folder of originals of data sets that have none."""
OPERATIONS = ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3", "dil_conv_5x5")
GENOTYPE = Genotype(
    architectures=(
        Architecture(
            name="normal",
            nodes=(
                (
                    Gene(source=0, operation="skip_connect"),
                    Gene(source=1, operation="sep_conv_3x3"),
                ),
                (
                    Gene(source=1, operation="dil_conv_5x5"),
                    Gene(source=2, operation="skip_connect"),
                ),
            ),
        ),
        Architecture(
            name="reduction",
            nodes=(
                (Gene(source=0, operation="max_pool_3x3"),),
                (Gene(source=2, operation="sep_conv_3x3"),),
            ),
        ),
    )
)
DEEPENED = {
    "epoch": 6,
    "kind": "deepen",
    "cells_before": 2,
    "cells": 3,
    "channels_before": 2,
    "channels": 2,
    "nodes_before": 2,
    "nodes": 2,
    "mutated": 0,
    "parameters_before": 1000,
    "parameters": 1500,
    "max_difference": 0.0,
    "verdict": "accepted",
    "accuracy_before": 0.5,
    "accuracy_after": 0.6,
}
REFERENCES = References(
    compared=(
        Reference(
            name="majority",
            title="the most frequent class",
            test_accuracy=1 / 3,
            low=0.1,
            high=0.7,
            difference=1 / 6,
            p_value=1.0,
            verdict="tie",
        ),
        Reference(
            name="resnet",
            title="ResNet-20 of equal size",
            test_accuracy=5 / 6,
            low=0.44,
            high=0.97,
            difference=-1 / 3,
            p_value=0.0412,
            verdict="worse",
            parameters=1250,
            epochs=4,
        ),
    ),
    skipped=(Skipped(title="SVC on pixels", reason="skipped: too many images"),),
)
MEASURES = {"precision": 0.53, "recall": 0.5, "f1": 0.51}
CALIBRATION = {
    "test_calibration_error_before": 0.173,
    "temperature": 1.3125,
    "unsure_below": 0.4321,
}
LENGTHS = {"warmup": 3, "search": 2, "growth": 3, "optimize": 4}


def blueprint(classes: int, *, grown: bool) -> Blueprint:
    cells = [
        CellPlan(kind="normal", architecture=0, channels=2),
        CellPlan(kind="reduction", architecture=1, channels=4),
    ]
    if grown:
        cells.append(CellPlan(kind="normal", architecture=0, channels=4, grown=True))
    return Blueprint(
        image_channels=3,
        classes=classes,
        nodes=2,
        operations=OPERATIONS,
        stem_channels=2,
        cells=tuple(cells),
    )


def write_dataset_of(folder: Path, classes: Sequence[str]) -> None:
    """Write a data set with two images of each class in every split."""
    labels = np.repeat(np.arange(len(classes)), 2)
    pixels = np.random.default_rng(1).integers(0, 256, (len(labels), 5, 5, 3), np.uint8)
    split = Labelled(images=pixels, labels=labels)
    write_dataset(
        folder,
        name="image_folder",
        classes=tuple(classes),
        splits=Splits(train=split, validation=split, test=split),
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
    )


def write_histories(artifacts: Path) -> None:
    epoch = 0
    for phase, length in LENGTHS.items():
        rows: list[Row] = []
        for _ in range(length):
            epoch += 1
            row: Row = {
                "epoch": epoch,
                "train_loss": 2 / epoch,
                "train_accuracy": epoch / 20,
                "image_passes": 6 * length,
            }
            if phase != "optimize":
                row |= {
                    "validation_loss": 2.5 / epoch,
                    "validation_accuracy": epoch / 25,
                    "genotype_accuracy": epoch / 22,
                    "temperature": 2 / epoch,
                    "entropy": 1.5 / epoch,
                    "max_weight": 0.5,
                    **{f"share_{name}": 1 / len(OPERATIONS) for name in OPERATIONS},
                    "cells": 2 + (epoch > 6),
                    "channels": 2,
                    "parameters": 1000 + 500 * (epoch > 6),
                }
            if phase in SEARCHING_PHASES:
                row |= {"undecided_edges": 3, "genotype_changes": 1, "path_diversity": 0.8}
            rows.append({**row, "recoveries": 0, "verdict": "", "health": 1.0})
        write_history(artifacts / phase / "history.tsv", rows)


def write_preferences(artifacts: Path, plan: Blueprint, histories: Mapping[str, int]) -> None:
    """Write what each edge preferred: one operation more and more. histories: number of epochs."""
    epoch, count = histories["warmup"], len(plan.operations)
    for phase in SEARCHING_PHASES:
        seen = []
        for _ in range(histories[phase]):
            epoch += 1
            logits = torch.zeros(plan.architectures, len(plan.edges), count)
            for architecture, edge in product(range(plan.architectures), range(len(plan.edges))):
                logits[architecture, edge, (architecture + edge) % count] = epoch * edge / 4
            seen.append(edges.weights(logits))
        rows = list(edges.rows(seen, plan, last=epoch))
        write_history(artifacts / phase / "edges.tsv", rows)


def write_model(
    folder: Path, classes: Sequence[str], *, grown: bool, calibration: Mapping[str, float]
) -> None:
    plan = blueprint(len(classes), grown=grown)
    metrics = {
        "test_accuracy": 0.5,
        "test_accuracy_low": 0.19,
        "test_accuracy_high": 0.81,
        "test_precision": 0.52,
        "test_recall": 0.5,
        "test_f1": 0.51,
        "test_loss": 1.0,
        "accuracy_by_class": dict.fromkeys(classes, 0.5),
        "measures_by_class": dict.fromkeys(classes, MEASURES),
        "test_calibration_error": 0.084,
        **calibration,
        "test_images": 2 * len(classes),
        "parameters": cost(plan, GENOTYPE, (8, 8)).parameters,
        "mflops": 0.5,
    }
    network = build(plan, GENOTYPE, generator=torch.Generator())
    facts = {"stage": "derive", "metrics": metrics}
    write_checkpoint(folder / "model.safetensors", Checkpoint.of(network, facts=facts))


FINALS: list[Row] = [
    {
        "round": turn,
        "finalist": number,
        "validation_accuracy": accuracy,
        "parameters": size,
        "image_passes": 6,
    }
    for turn, number, accuracy, size in (
        (1, 0, 0.61, 9000),
        (1, 1, 0.6, 8000),
        (1, 2, 0.5, 95_000),
        (2, 0, 0.64, 9000),
        (2, 1, 0.66, 8000),
    )
]
"""The rows of three finalists, of whom the second wins."""


def write_artifacts(
    artifacts: Path,
    classes: Sequence[str] = ("cat", "dog", "owl"),
    *,
    growths: Sequence[dict[str, object]] = (DEEPENED,),
    right: bool = False,
    finals: bool = True,
    calibration: Mapping[str, float] = CALIBRATION,
) -> Path:
    """Write all files that the report reads.

    The second image of each class is classified as the next class, unless all are `right`.
    calibration: metrics of a calibrated model.
    """
    write_dataset_of(artifacts / "prepare", classes)
    write_histories(artifacts)
    plan = blueprint(len(classes), grown=bool(growths))
    write_preferences(artifacts, plan, LENGTHS)
    write_model(artifacts / "derive", classes, grown=bool(growths), calibration=calibration)
    wrong = [*classes[1:], classes[0]]
    predictions: list[Row] = []
    for index, name in enumerate(classes):
        predictions.append({"actual": name, "predicted": name, "probability": 0.9})
        taken = name if right else wrong[index]
        predictions.append(
            {"actual": name, "predicted": taken, "probability": 0.4 + 0.5 / (index + 1)}
        )
    write_history(artifacts / "derive" / "confusion.tsv", predictions)
    suspects = [
        Suspect(
            split=split, index=1, name="", label=0, looks_like=1, score=-0.5 - place, place=place
        )
        for place, split in enumerate(("train", "test"))
    ]
    write_suspects(artifacts / "derive" / "suspects.csv", suspects, classes)
    write_references(artifacts / "reference" / "references.json", REFERENCES)
    write_json(artifacts / "check" / "defaults.json", Params().model_dump(mode="json"))
    write_json(artifacts / "search" / "metrics.json", {"drop_at_start": 0.031})
    finals = {"winner": 1, "epochs": FINALS} if finals else {"winner": None, "epochs": []}
    write_json(artifacts / "search" / "finalists.json", finals)
    write_json(artifacts / "growth" / "growth.json", {"events": growths})
    write_json(
        artifacts / "export" / "metrics.json",
        {"images": 6, "max_difference": 4.8e-06, "agreement": 1.0, "onnx_bytes": 5000},
    )
    return artifacts


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the artifacts of a run with one growth, for tests that change nothing."""
    return write_artifacts(tmp_path_factory.mktemp("run") / "artifacts")


@pytest.fixture(scope="session")
def findings(artifacts: Path) -> Findings:
    return read_findings(artifacts, NOWHERE)


@st.composite
def networks(
    draw: st.DrawFn, findings: Findings, spaces: tuple[str, ...] = tuple(SPACES)
) -> Findings:
    """Findings with another network: 3 to 20 cells of any search space, and up to 4 grown ones."""
    found = draw(blueprints(spaces=spaces, most_cells=20))
    for _ in range(draw(st.integers(0, 4))):
        found = deepen(found)
    return replace(findings, blueprint=found, genotype=draw(genotypes(found)))


def require_legible(figure: Figure) -> None:
    """Require that nothing lies outside and that texts, boxes and frames do not overlap.

    A text may be in a box, and both may be in a dashed frame.
    """
    renderer = FigureCanvasAgg(figure).get_renderer()
    axes = figure.axes[0]
    texts = [text.get_window_extent(renderer) for text in axes.texts]
    places: dict[str, list[Bbox]] = {"solid": [], "--": []}
    for patch in axes.patches:
        assert _within(patch.get_window_extent(renderer), figure.bbox)
        if isinstance(patch, FancyBboxPatch):
            places[str(patch.get_linestyle())].append(patch.get_window_extent(renderer))
    boxes, frames = places.values()
    for alike in (texts, boxes, frames):
        assert not any(one.overlaps(other) for one, other in combinations(alike, 2))
    assert all(_within(text, figure.bbox) for text in texts)
    for inner, outer in (*product(texts, boxes), *product([*texts, *boxes], frames)):
        assert _within(inner, outer) or not inner.overlaps(outer)


def _within(one: BboxBase, other: BboxBase) -> bool:
    wide = other.xmin <= one.xmin <= one.xmax <= other.xmax
    return wide and other.ymin <= one.ymin <= one.ymax <= other.ymax
