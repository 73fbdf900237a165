"""Write one small file of each kind that outlives a version of the project, as this one writes it.

    python -m tests.past.write tests/past/1

A later version reads them, or refuses each by name. Where a format changes, a new folder is added;
the old ones stay.
"""

import os
import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.deciding.decision import decide
from pipeline.exporting.onnx_file import ModelFacts, export_onnx
from pipeline.prepared.facts import SPLITS
from pipeline.prepared.labelled import Labelled, Splits
from pipeline.prepared.packing import write_dataset
from pipeline.space.network import discretize
from pipeline.space.params import NetworkParams
from pipeline.training.resume import Points
from pipeline.warming.warm import Warmup
from tests.conftest import random_logits, tiny, tiny_blueprint, tiny_network, write_supernet
from tests.phases import warming

SMALL: dict[str, Any] = {
    "cells": 3,
    "nodes": 1,
    "channels": 4,
    "operations": ("none", "skip_connect", "sep_conv_3x3"),
}
CLASSES = ("ape", "bee", "cat")
RUN = "abc"
"""Fingerprint of the resume point's run."""


def write(folder: Path) -> None:
    """Write a data set, a checkpoint, a resume point and an ONNX file."""
    network = tiny_network(tiny_blueprint(**SMALL))
    write_supernet(folder / "checkpoint.safetensors", network)
    phase = phase_of_past()
    state = phase.begin()
    rows = (
        {**row, "recoveries": 0, "verdict": "", "health": 1.0}
        for row in phase.train(state, 1.0, [])
    )
    points = Points("warmup", folder / "resume", RUN)
    list(points.after_each(islice(rows, 1), [], lambda: phase.snapshot(state)))
    splits = Splits(**{split: _split(split) for split in SPLITS})
    statistics: dict[str, Any] = {"mean": (0.5, 0.4, 0.6), "std": (0.3, 0.2, 0.3)}
    write_dataset(folder / "prepare", name="past", classes=CLASSES, splits=splits, **statistics)
    genotype = decide(random_logits(network.blueprint), network.blueprint)
    facts = ModelFacts(
        classes=CLASSES, height=8, width=8, channels=3, fit="crop", genotype=genotype.to_dict(),
        digests={}, **statistics,
    )  # fmt: skip
    model = export_onnx(discretize(network, genotype).eval(), facts)
    (folder / "model.onnx").write_bytes(model)


def phase_of_past() -> Warmup:
    """Return the phase whose resume point is written."""
    return warming(network=tiny(NetworkParams, **SMALL), epochs=3)


def _split(split: str) -> Labelled:
    pixels = np.random.default_rng(len(split)).integers(0, 256, (6, 8, 8, 3), np.uint8)
    names = tuple(f"{split}/{number}.png" for number in range(6))
    return Labelled(images=pixels, labels=np.arange(6) % 3, names=names)


if __name__ == "__main__":
    target = Path(sys.argv[1]).absolute()
    os.chdir(tempfile.mkdtemp())
    write(target)
