"""The stage tells which edges are decided, and lets finalists compete."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.alternating.params import SearchParams
from pipeline.batches.params import AugmentationParams
from pipeline.deciding.decision import DECIDED, decide
from pipeline.harness.metrics import required
from pipeline.reporting.histories import read_history
from pipeline.reporting.preferences import read_preferences
from pipeline.space.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from pipeline.space.relaxation import disabled
from pipeline.targeting.params import TargetParams
from pipeline.training.params import TrainingParams
from stages.search import Params, main
from tests.breaking import backward, nan
from tests.conftest import tiny, tiny_blueprint, tiny_network, write_noise, write_supernet


@pytest.fixture(autouse=True)
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the stages before search have written, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASO_SE_DEVICE", "cpu")
    write_noise(tmp_path / "prepare", training=16, validation=8)
    write_supernet(
        tmp_path / "warmup" / "checkpoint.safetensors", stage="warmup", validation_accuracy=0.3
    )


def params_of(**search: Any) -> Params:
    """Params of one tiny epoch; search: what differs in that section."""
    return Params(
        seed=1,
        augmentation=tiny(AugmentationParams),
        training=tiny(TrainingParams),
        target=TargetParams(),
        search=tiny(SearchParams, epochs=1, **search),
    )


@pytest.mark.parametrize("decided", [10, 7])
def test_search_says_how_many_edges_it_left_undecided(
    decided: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logits = torch.zeros(10, 4)
    logits[:decided, 2] = 20
    warmed = Checkpoint.of(
        tiny_network(),
        logits=logits.view(2, 5, 4),
        facts={"stage": "warmup", "epoch": 3, "validation_accuracy": 0.3},
    )
    write_checkpoint(tmp_path / "warmup" / "checkpoint.safetensors", warmed)
    params = params_of(arch_learning_rate=1e-6, stop_operations=0.5)
    main(params, tmp_path / "prepare", tmp_path / "warmup", tmp_path / "search")
    metrics = json.loads((tmp_path / "search" / "metrics.json").read_text())
    assert metrics["undecided_edges"] == 10 - decided
    out = capsys.readouterr().out
    assert f"{decided} of 10 edges are decided{'' if decided == 10 else ', 3 open'};" in out
    assert ("a larger search.arch_learning_rate decides more" in out) == (decided < 10)
    history = read_history(tmp_path / "search" / "history.tsv", required("search"))
    edges = read_preferences(tmp_path / "search" / "edges.tsv", tiny_blueprint(), history)
    assert sum(max(edge.weights) >= DECIDED for edge in edges) == decided
    assert "search: 0 operations stopped early; of 38 with weights 0 ran often enough" in out


@pytest.mark.parametrize("finalists", [0, 3])
def test_finalists_decide_what_the_stage_writes(finalists: int, tmp_path: Path) -> None:
    params = params_of(finalists=finalists)
    finish = main(params, tmp_path / "prepare", tmp_path / "warmup", tmp_path / "search")
    document = json.loads((tmp_path / "search" / "finalists.json").read_text())
    searched = read_checkpoint(tmp_path / "search" / "checkpoint.safetensors")
    genotype = decide(searched.searched(), searched.network.blueprint)
    assert (tmp_path / "search" / "genotype.json").read_text() == genotype.to_json()
    if finalists:
        assert document["winner"] in {row["finalist"] for row in document["epochs"]}
        assert len(document["epochs"]) == 3 + 2
    else:
        assert document == {"winner": None, "epochs": []}
    points = tmp_path / ".aso-se" / "resume"
    assert any(points.iterdir())
    finish()
    assert not any(points.iterdir())


def test_the_stage_records_the_finalists_that_failed(
    tmp_path: Path, breaks: Callable[..., None]
) -> None:
    params = params_of(finalists=4)

    def of_finalists(x: Tensor) -> Tensor:
        """Fail as soon as finalists train."""
        finals = tmp_path.glob(".aso-se/resume/search-*/finalists/*.safetensors")
        return nan(x) if any(finals) else x

    breaks((0, 2, "avg_pool_3x3", backward(of_finalists)))
    main(params, tmp_path / "prepare", tmp_path / "warmup", tmp_path / "search")
    document = json.loads((tmp_path / "search" / "finalists.json").read_text())
    failed = {one["finalist"] for one in document["failed"]}
    assert failed
    assert document["winner"] not in failed
    assert {one["reason"] for one in document["failed"]} == {
        "cell 0 (normal), edge from source 0 to node 1, avg_pool_3x3: made NaN of finite gradients"
    }
    logits = read_checkpoint(tmp_path / "search" / "checkpoint.safetensors").searched()
    assert disabled(logits).nonzero().tolist() == [[0, 2, 1]]
