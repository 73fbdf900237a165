"""From its first epoch, growth is compared with the end of search."""

from pathlib import Path

import pytest
import torch

from pipeline.alternating.params import SearchParams
from pipeline.batches.params import AugmentationParams
from pipeline.growing.params import GrowthParams
from pipeline.harness.errors import TrainingFailedError
from pipeline.space.checkpoint import Checkpoint, write_checkpoint
from pipeline.space.params import NetworkParams
from pipeline.targeting.params import TargetParams
from pipeline.training.params import TrainingParams
from stages.growth import Params, main
from tests.conftest import tiny, tiny_network, write_noise


@pytest.mark.parametrize("searched", [0.3, 0.99])
def test_growth_that_loses_what_search_had_learnt_is_seen_in_its_first_epoch(
    searched: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASO_SE_DEVICE", "cpu")
    write_noise(tmp_path / "prepare", training=16, validation=60)
    facts = {"stage": "search", "epoch": 3, "temperature": 0.5, "validation_accuracy": searched}
    checkpoint = Checkpoint(network=tiny_network(), logits=torch.zeros(2, 5, 4), facts=facts)
    write_checkpoint(tmp_path / "search" / "checkpoint.safetensors", checkpoint)
    params = Params(
        seed=1,
        augmentation=tiny(AugmentationParams),
        network=tiny(NetworkParams),
        training=tiny(TrainingParams, max_recoveries=1),
        target=TargetParams(),
        search=tiny(SearchParams),
        growth=tiny(GrowthParams, epochs=1),
    )
    arguments = params, tmp_path / "prepare", tmp_path / "search", tmp_path / "growth"
    if searched < 0.5:
        main(*arguments)
    else:
        with pytest.raises(TrainingFailedError, match="epoch 1: degraded"):
            main(*arguments)
    assert ("degraded" in capsys.readouterr().out) == (searched > 0.5)
