"""The stage trains on validation images only if params say so."""

import json
from pathlib import Path

import pytest
import torch

from pipeline.batches.params import AugmentationParams
from pipeline.margins.margins import read_margins
from pipeline.optimizing.params import OptimizeParams
from pipeline.space.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from pipeline.space.params import NetworkParams
from pipeline.training.params import TrainingParams
from stages.optimize import Params, main
from tests.conftest import tiny, tiny_network, write_noise


def optimize(folder: Path, *, use_validation: bool, validation_seed: int) -> tuple[bytes, Path]:
    """Run the stage; return its checkpoint and its metrics."""
    write_noise(folder / "prepare", training=16, validation=8, validation_seed=validation_seed)
    grown = Checkpoint(
        network=tiny_network(),
        logits=torch.zeros(2, 5, 4),
        facts={"stage": "growth", "epoch": 3},
    )
    write_checkpoint(folder / "growth" / "checkpoint.safetensors", grown)
    params = Params(
        seed=1,
        augmentation=tiny(AugmentationParams),
        network=tiny(NetworkParams),
        training=tiny(TrainingParams),
        optimize=tiny(OptimizeParams, use_validation=use_validation),
    )
    main(params, folder / "prepare", folder / "growth", folder / "out")
    out = folder / "out"
    return (out / "checkpoint.safetensors").read_bytes(), out / "metrics.json"


@pytest.mark.parametrize("use_validation", [True, False])
def test_validation_images_shape_the_result_only_if_they_are_to_be_trained_on(
    use_validation: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASO_SE_DEVICE", "cpu")
    one, other = (
        optimize(tmp_path / str(seed), use_validation=use_validation, validation_seed=seed)
        for seed in (1, 2)
    )
    assert (one[0] != other[0]) == use_validation
    metrics = json.loads(one[1].read_text())
    assert ("validation_accuracy" not in metrics) == use_validation
    trained = read_checkpoint(tmp_path / "1" / "out" / "checkpoint.safetensors")
    assert ("validation" in trained.fact("trained_on")) == use_validation
    sizes = {"train": 16, "validation": 8} if use_validation else {"train": 16}
    found = read_margins(tmp_path / "1" / "out" / "margins.safetensors", sizes)
    assert len(torch.cat(list(found.values())).unique()) > 8
