"""Every shipped profile, shrunk, goes through all stages to the report."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.here import run

ROOT = Path(__file__).resolve().parents[1]
PROFILES = sorted(path.stem for path in (ROOT / "profiles").glob("*.yaml"))
SHRUNK: dict[str, Any] = {
    "data.name": "image_folder",
    "data.path": "photos",
    "data.image_size": 16,
    "data.stored_size": 24,
    "data.fit": "pad",
    "data.validation_fraction": 0.5,
    "data.test_fraction": 0.3,
    "augmentation.crop_padding": 1,
    "augmentation.cutout": 0,
    "augmentation.zoom": 0.5,
    "augmentation.color": 0.2,
    "network.cells": 3,
    "network.channels": 4,
    "network.stem": 2,
    "training.batch_size": 8,
    "training.evaluation_batch_size": 8,
    "training.statistics_batches": 2,
    "warmup.epochs": 2,
    "warmup.skip_epochs": 1,
    "search.epochs": 2,
    "growth.epochs": 6,
    "growth.kinds": ["mutate", "deepen", "widen"],
    "growth.explore": 0.3,
    "growth.patience": 1,
    "growth.settle": 1,
    "growth.min_improvement": 0.9,
    "growth.tolerance": 0.9,
    "growth.max_cells": 4,
    "growth.max_channels": 6,
    "optimize.epochs": 2,
    "optimize.use_validation": False,
    "optimize.patience": 1,
    "optimize.balance": 0.5,
    "optimize.mixup": 0.2,
    "optimize.cutmix": 1.0,
    "target.kilobytes": 500.0,
    "reference.kinds": ["majority", "nearest_neighbour", "resnet", "random_architecture"],
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, the current one, with 48 photos of two classes."""
    monkeypatch.chdir(tmp_path)
    source = np.random.default_rng(0)
    for name in ("ants", "bees"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(24):
            pixels = source.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_reaches_its_report(profile: str, here: Path) -> None:
    run(SHRUNK, here / "artifacts", profile=profile)
    page = (here / "artifacts" / "report" / "report.html").read_text()
    assert re.search(r"(ants|bees)/\d+\.png", page)
    assert "shown as the network saw them" not in page  # the originals are there
    assert (here / "artifacts" / "export" / "model.onnx").stat().st_size > 1000
    card = (here / "artifacts" / "export" / "model_card.md").read_text()
    assert "is the sum of" in card
