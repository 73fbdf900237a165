"""The whole method runs in the search space nasbench201, from warmup to the exported model."""

from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.alternating import state as search_state
from pipeline.alternating.params import SearchParams
from pipeline.batches.params import AugmentationParams
from pipeline.costing.cost import cost
from pipeline.exporting.onnx_file import ModelFacts, export_onnx
from pipeline.exporting.parity import measure_parity, require_parity
from pipeline.growing import grow
from pipeline.growing import state as growth_state
from pipeline.growing.params import GrowthParams
from pipeline.harness.records import Row
from pipeline.optimizing import optimize
from pipeline.optimizing.params import OptimizeParams
from pipeline.searching import search
from pipeline.space.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from pipeline.space.params import NetworkParams
from pipeline.supernet import supernet
from pipeline.training.resume import Points
from pipeline.warming import warm
from pipeline.warming.params import WarmupParams
from tests.conftest import NASBENCH201, search_images, tiny
from tests.test_resume import CPU, IMAGES, TRAINING, Phase, newest

FIELDS: dict[str, Any] = {
    "training": TRAINING,
    "augmentation": tiny(AugmentationParams),
    "seed": 0,
}
NETWORK = tiny(NetworkParams, **NASBENCH201)


def warming(params: NetworkParams = NETWORK) -> Phase:
    return Phase(
        lambda: warm.start(params, TRAINING, image_channels=3, classes=3, seed=0, device=CPU),
        lambda state: warm.epochs(state, IMAGES, params=tiny(WarmupParams), **FIELDS),
        supernet.snapshot,
        lambda saved: warm.resumed(saved, TRAINING, CPU),
    )


def searching(warmed: Path, **changes: object) -> Phase:
    params = tiny(SearchParams, **changes)
    return Phase(
        lambda: search_state.start(read_checkpoint(warmed), params, TRAINING, images=24, seed=0),
        lambda state: search.epochs(state, IMAGES, params=params, **FIELDS),
        search_state.snapshot,
        lambda saved: search_state.resumed(saved, TRAINING, CPU),
    )


def growing(searched: Path, **changes: object) -> Phase:
    recipe = growth_state.Recipe(
        network=NETWORK,
        training=TRAINING,
        augmentation=tiny(AugmentationParams),
        search=tiny(SearchParams),
        growth=tiny(GrowthParams, **changes),
    )
    return Phase(
        lambda: growth_state.start(read_checkpoint(searched), recipe, images=24),
        lambda state: grow.epochs(state, IMAGES, recipe, 0),
        growth_state.snapshot,
        lambda saved: growth_state.resumed(saved, TRAINING, CPU),
    )


def optimizing(grown: Path) -> Phase:
    params = tiny(OptimizeParams, auxiliary_weight=0.4, drop_path=0.2, ema_decay=0.9)

    def start() -> optimize.OptimizeState:
        found = read_checkpoint(grown)
        return optimize.start(found, IMAGES.training, params, TRAINING, seed=0)

    return Phase(
        start,
        lambda state: optimize.epochs(
            state, IMAGES.training, IMAGES.validation, params=params, **FIELDS
        ),
        optimize.snapshot,
        lambda saved: optimize.resumed(start(), saved),
    )


def whole(phase: Phase, folder: Path) -> tuple[Any, list[Row]]:
    """Run a phase, and again broken off after its first epoch: to the same bytes."""
    points = Points("whole", folder / "whole")
    state = phase.start()
    rows = list(points.after_each(phase.epochs(state), [], partial(phase.snapshot, state)))

    broken = Points("broken", folder / "broken")
    other = phase.start()
    first = islice(broken.after_each(phase.epochs(other), [], partial(phase.snapshot, other)), 1)
    assert list(first) == rows[:1]
    saved, before = broken.newest()
    assert saved
    other = phase.resumed(saved)
    rest = broken.after_each(phase.epochs(other), before, partial(phase.snapshot, other))
    assert [*before, *rest] == rows
    assert newest(broken.folder) == newest(points.folder)
    return state, rows


def written(path: Path, state: Any) -> Path:
    facts = {"epoch": state.epoch, "temperature": state.temperature}
    write_checkpoint(path, Checkpoint(network=state.network, logits=state.logits, facts=facts))
    return path


def test_every_phase_runs_and_resumes_and_the_model_is_exported(tmp_path: Path) -> None:
    warmed, rows = whole(warming(), tmp_path / "warmup")
    assert [row["phase"] for row in rows] == ["skip", "explore"]

    path = written(tmp_path / "warmed", warmed)
    searched, rows = whole(searching(path), tmp_path / "search")
    assert not torch.equal(searched.logits, read_checkpoint(path).searched())
    assert {"share_none", "share_nor_conv_3x3", "entropy"} <= rows[-1].keys()

    path = written(tmp_path / "searched", searched)
    grown, rows = whole(growing(path), tmp_path / "growth")
    assert [(event.kind, event.verdict) for event in grown.events] == [
        ("deepen", "accepted"),
        ("widen", "accepted"),
    ]
    assert max(event.max_difference for event in grown.events) < 1e-10
    assert (rows[-1]["cells"], rows[-1]["channels"]) == (4, 6)

    path = written(tmp_path / "grown", grown.search)
    optimized, _ = whole(optimizing(path), tmp_path / "optimize")

    path = tmp_path / "model.safetensors"
    write_checkpoint(path, Checkpoint(network=optimized.result))
    model = read_checkpoint(path)
    network, genotype = model.network.eval(), model.decided()
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert cost(network.blueprint, genotype, (8, 8)).parameters == parameters
    facts = ModelFacts(
        classes=("ape", "bee", "cat"),
        height=8,
        width=8,
        channels=3,
        mean=(0.5, 0.4, 0.6),
        std=(0.3, 0.2, 0.3),
        genotype=genotype.to_dict(),
        digests={},
    )
    pixels = search_images().validation.pixels.permute(0, 2, 3, 1)
    exported = export_onnx(network, facts)
    require_parity(measure_parity(exported, network, pixels, facts.mean, facts.std), 1e-4)


def test_nothing_grows_where_the_budget_is_the_size_at_the_start(tmp_path: Path) -> None:
    state = warming().start()
    phase = growing(written(tmp_path / "searched", state), max_cells=3, max_channels=4)
    grown = phase.start()
    rows = list(phase.epochs(grown))
    assert not grown.events
    assert {(row["cells"], row["channels"]) for row in rows} == {(3, 4)}


@pytest.mark.parametrize("sampling", ["hard", "soft"])
def test_search_goes_on_though_every_edge_is_cut(sampling: str, tmp_path: Path) -> None:
    state = warming(tiny(NetworkParams, **NASBENCH201, initial_none=50.0)).start()
    phase = searching(written(tmp_path / "warmed", state), sampling=sampling)
    searched = phase.start()
    rows = list(phase.epochs(searched))
    assert all(row["train_loss"] < 10 for row in rows)
    assert torch.isfinite(searched.logits).all()


def test_a_network_that_leads_nowhere_is_optimized_without_an_error(tmp_path: Path) -> None:
    state = warming(tiny(NetworkParams, **NASBENCH201, initial_none=50.0)).start()
    phase = optimizing(written(tmp_path / "grown", state))
    optimized = phase.start()
    rows = list(phase.epochs(optimized))
    assert optimized.network.genotype is not None
    assert not any(optimized.network.genotype.architectures[0].nodes)
    assert all(row["train_loss"] < 10 for row in rows)
