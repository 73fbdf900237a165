"""Growth is compared with the end of search, and leaves what each edge preferred."""

import json
from collections import Counter
from pathlib import Path

import pytest
import torch

from pipeline.alternating.params import SearchParams
from pipeline.batches.params import AugmentationParams
from pipeline.growing.params import GrowthParams
from pipeline.harness.errors import TrainingFailedError
from pipeline.harness.metrics import required
from pipeline.reporting.histories import read_history
from pipeline.reporting.preferences import read_preferences
from pipeline.space.checkpoint import Checkpoint, write_checkpoint
from pipeline.space.params import NetworkParams
from pipeline.targeting.params import TargetParams
from pipeline.training.params import TrainingParams
from stages.growth import Params, main
from tests.conftest import tiny, tiny_blueprint, tiny_network, write_noise, write_supernet


def params(**growth: object) -> Params:
    return Params(
        seed=1,
        augmentation=tiny(AugmentationParams),
        network=tiny(NetworkParams),
        training=tiny(TrainingParams, max_recoveries=1),
        target=TargetParams(),
        search=tiny(SearchParams),
        growth=tiny(GrowthParams, **growth),
    )


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
    checkpoint = Checkpoint.of(tiny_network(), logits=torch.zeros(2, 5, 4), facts=facts)
    write_checkpoint(tmp_path / "search" / "checkpoint.safetensors", checkpoint)
    arguments = params(epochs=1), tmp_path / "prepare", tmp_path / "search", tmp_path / "growth"
    if searched < 0.5:
        main(*arguments)
    else:
        with pytest.raises(TrainingFailedError, match="epoch 1: degraded"):
            main(*arguments)
    assert ("degraded" in capsys.readouterr().out) == (searched > 0.5)


def test_growth_that_was_broken_off_writes_the_same_edges_through_growths_and_rollbacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASO_SE_DEVICE", "cpu")
    write_noise(tmp_path / "prepare", training=16, validation=16)
    facts = {"stage": "search", "validation_accuracy": 0.3}
    write_supernet(tmp_path / "search" / "checkpoint.safetensors", tiny_network(), **facts)
    kinds = {"kinds": ("node", "mutate", "deepen"), "tolerance": 0.0, "epochs": 7}
    arguments = params(**kinds), tmp_path / "prepare", tmp_path / "search", tmp_path / "growth"
    main(*arguments)
    told = capsys.readouterr().out.splitlines()[-1]
    document = json.loads((tmp_path / "growth" / "growth.json").read_text())
    verdicts = [event["verdict"] for event in document["events"]]
    assert {"accepted", "rolled back"} <= {*verdicts}
    assert all(f"{event['kind']} (" in told for event in document["events"])
    assert "edges are decided" in told

    written = {path.name: path.read_bytes() for path in (tmp_path / "growth").iterdir()}
    history = read_history(tmp_path / "growth" / "history.tsv", required("search"))
    rows = read_preferences(tmp_path / "growth" / "edges.tsv", tiny_blueprint(), history)
    sizes = Counter(row.epoch for row in rows)
    assert list(sizes) == [6, 7, 8, 9, 10, 11, 12]
    assert len({*sizes.values()}) > 1  # of edges that a node or a cell brought

    [points] = (tmp_path / ".aso-se" / "resume").iterdir()
    max(points.iterdir()).unlink()
    main(*arguments)
    assert "growth: resumes after epoch 6 of 7" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in (tmp_path / "growth").iterdir()} == written
