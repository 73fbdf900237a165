"""The whole method runs in every search space, from warmup to the exported model."""

from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import nn

from pipeline.batches.randomness import generator
from pipeline.costing.cost import cost
from pipeline.deciding.decision import decide
from pipeline.exporting.onnx_file import ModelFacts, export_onnx
from pipeline.exporting.parity import measure_parity, require_parity
from pipeline.space.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from pipeline.space.network import build
from pipeline.space.params import NetworkParams
from pipeline.space.registry import SPACES
from tests.conftest import of_space, random_images, tiny, tiny_blueprint
from tests.phases import growing, optimizing, searching, train, warming
from tests.test_resume import here, require_resumable  # noqa: F401 - a fixture of every test here

FACTS: dict[str, Any] = {
    "classes": ("ape", "bee", "cat"),
    "height": 8,
    "width": 8,
    "channels": 3,
    "mean": (0.5, 0.4, 0.6),
    "std": (0.3, 0.2, 0.3),
    "digests": {},
}


def written(path: Path, stage: str, state: Any) -> Path:
    facts = {"stage": stage, "epoch": state.epoch, "temperature": state.temperature}
    write_checkpoint(path, Checkpoint.of(state.network, logits=state.logits, facts=facts))
    return path


def cut_everywhere(path: Path, space: str) -> Path:
    """Write a supernet in which every edge prefers `none`."""
    network = tiny(NetworkParams, **of_space(space), initial_none=50.0)
    return written(path, "growth", warming(network=network).begin())


@pytest.mark.parametrize("space", SPACES)
def test_every_phase_runs_and_resumes_and_the_model_is_exported(
    space: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = tiny(NetworkParams, **of_space(space))

    def whole(phase: Any, name: str) -> tuple[Any, list[Any]]:
        return require_resumable(phase, tmp_path / name, monkeypatch)

    warmed, rows = whole(warming(network=network), "warmup")
    assert [row["phase"] for row in rows] == ["skip", "explore"]

    path = written(tmp_path / "warmed", "warmup", warmed)
    searched, rows = whole(searching(path), "search")
    assert not torch.equal(searched.logits, read_checkpoint(path).searched())
    shares = {f"share_{name}" for name in network.operations}
    assert {"entropy", *shares} <= rows[-1].keys()

    path = written(tmp_path / "searched", "search", searched)
    grown, rows = whole(growing(path, network=network), "growth")
    assert [(event.kind, event.verdict) for event in grown.events] == [
        ("deepen", "accepted"),
        ("widen", "accepted"),
    ]
    assert max(event.max_difference for event in grown.events) < 1e-10
    assert (rows[-1]["cells"], rows[-1]["channels"]) == (4, 6)

    path = written(tmp_path / "grown", "growth", grown.search)
    everything = {"auxiliary_weight": 0.4, "drop_path": 0.2, "ema_decay": 0.9}
    optimized, _ = whole(optimizing(path, network=network, **everything), "optimize")

    path = tmp_path / "model.safetensors"
    write_checkpoint(path, Checkpoint.of(optimized.result))
    model = read_checkpoint(path)
    found, genotype = model.network.eval(), model.decided()
    parameters = sum(parameter.numel() for parameter in found.parameters())
    assert cost(found.blueprint, genotype, (8, 8)).parameters == parameters
    facts = ModelFacts(genotype=genotype.to_dict(), **FACTS)
    pixels = random_images(16, seed=1).pixels.permute(0, 2, 3, 1)
    exported = export_onnx(found, facts)
    require_parity(measure_parity(exported, found, pixels, facts.mean, facts.std), 1e-4)


@pytest.mark.parametrize("space", SPACES)
def test_nothing_grows_where_the_budget_is_the_size_at_the_start(
    space: str, tmp_path: Path
) -> None:
    network = tiny(NetworkParams, **of_space(space))
    path = written(tmp_path / "searched", "search", warming(network=network).begin())
    phase = growing(path, network=network, max_cells=3, max_channels=4)
    state = phase.begin()
    rows = train(phase, state)
    assert not state.events
    assert {(row["cells"], row["channels"]) for row in rows} == {(3, 4)}


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("sampling", ["hard", "soft"])
def test_search_goes_on_though_every_edge_is_cut(sampling: str, space: str, tmp_path: Path) -> None:
    phase = searching(cut_everywhere(tmp_path / "warmed", space), sampling=sampling)
    state = phase.begin()
    rows = train(phase, state)
    assert all(row["train_loss"] < 10 for row in rows)
    assert torch.isfinite(state.logits).all()


@pytest.mark.parametrize("space", [name for name, space in SPACES.items() if space.cuts])
def test_a_network_that_leads_nowhere_is_optimized_without_an_error(
    space: str, tmp_path: Path
) -> None:
    phase = optimizing(
        cut_everywhere(tmp_path / "grown", space), network=tiny(NetworkParams, **of_space(space))
    )
    state = phase.begin()
    rows = train(phase, state)
    assert state.network.genotype is not None
    assert not any(state.network.genotype.architectures[0].nodes)
    assert all(row["train_loss"] < 10 for row in rows)


def test_layers_that_keep_their_input_cost_nothing_in_the_exported_model() -> None:
    blueprint = tiny_blueprint(**of_space("residual"))
    logits = torch.zeros(blueprint.architectures, 1, len(blueprint.operations))
    logits[..., blueprint.skip] = 1
    genotype = decide(logits, blueprint)
    network = build(blueprint, genotype, generator=generator(0, "weights")).eval()
    exported = export_onnx(network, ModelFacts(genotype=genotype.to_dict(), **FACTS))
    operations = [node.op_type for node in onnx.load_from_string(exported).graph.node]
    convolutions = sum(isinstance(one, nn.Conv2d) for one in network.modules())
    assert operations.count("Conv") == convolutions
    assert not {*operations} & {"Expand", "ConstantOfShape"}
