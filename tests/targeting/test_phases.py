"""Search, its finalists and growth keep to a target in every epoch, in every space."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline.costing.cost import cost
from pipeline.deciding.decision import decide
from pipeline.harness.errors import ParamsError
from pipeline.params import Params
from pipeline.searching.entering import entrants, reference
from pipeline.space.params import NetworkParams
from pipeline.space.registry import SPACES
from pipeline.supernet.supernet import Supernet
from pipeline.targeting.params import TargetParams
from tests.conftest import (
    of_space,
    random_logits,
    tiny,
    tiny_blueprint,
    tiny_network,
    write_supernet,
)
from tests.phases import growing, searching

SIDE = (8, 8)


def parameters(state: Supernet) -> int:
    """Return the size of the most likely network, by the rule of its space."""
    blueprint = state.network.blueprint
    return cost(blueprint, decide(state.logits, blueprint), SIDE).parameters


@pytest.fixture(params=SPACES)
def space(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def target(space: str) -> TargetParams:
    """A limit just below the most likely network at the start."""
    blueprint = tiny_blueprint(**of_space(space))
    found = cost(blueprint, decide(random_logits(blueprint), blueprint), SIDE).parameters
    return TargetParams(parameters=found - 1)


@pytest.fixture
def searched(space: str, tmp_path: Path) -> Path:
    network = tiny_network(tiny_blueprint(**of_space(space)))
    return write_supernet(tmp_path / "checkpoint.safetensors", network)


def test_the_most_likely_network_of_search_meets_the_target_from_the_start(
    searched: Path, target: TargetParams
) -> None:
    free = searching(searched, transition_noise=0.0)
    assert parameters(free.begin()) > target.limits["parameters"]
    phase = searching(searched, target=target, epochs=3, arch_learning_rate=2.0)
    state = phase.begin()
    sizes = [parameters(state), *(parameters(state) for _ in phase.train(state, 1.0, []))]
    assert len(sizes) == 4
    assert max(sizes) <= target.limits["parameters"]


def test_finalists_meet_the_target_and_a_reference_that_does_not_is_none_of_them(
    searched: Path, target: TargetParams
) -> None:
    phase = searching(searched, target=target, finalists=3)
    state = phase.begin()
    blueprint = state.network.blueprint
    chosen = entrants(phase.context, phase.params, state, phase.budget)
    sizes = [cost(blueprint, one, SIDE).parameters for one in chosen]
    assert len(sizes) > 1
    assert max(sizes) <= target.limits["parameters"]
    known = reference(blueprint)
    if known is not None:
        dear = cost(blueprint, known, SIDE).parameters > target.limits["parameters"]
        assert dear == (known not in chosen)


def test_growth_meets_the_target_before_and_after_the_network_grows(
    searched: Path, space: str
) -> None:
    network = tiny(NetworkParams, **of_space(space))
    free = growing(searched, network=network).begin().search
    limit = int(1.6 * parameters(free))
    phase = growing(searched, network=network, target=TargetParams(parameters=limit), epochs=8)
    state = phase.begin()
    sizes = [parameters(state.search) for _ in phase.train(state, 1.0, [])]
    assert [event.verdict for event in state.events].count("accepted") >= 1
    assert max(sizes) <= limit


def test_a_resumed_search_goes_on_as_if_it_had_not_stopped(
    searched: Path, target: TargetParams
) -> None:
    phase = searching(searched, target=target, epochs=3, arch_learning_rate=2.0)
    whole, stopped = phase.begin(), phase.begin()
    for _ in phase.train(whole, 1.0, []):
        pass
    next(iter(phase.train(stopped, 1.0, [])))
    resumed = phase.resumed(phase.snapshot(stopped))
    for _ in phase.train(resumed, 1.0, []):
        pass
    assert torch.equal(whole.logits, resumed.logits)


def test_what_no_network_of_the_space_meets_is_refused_before_anything_runs(space: str) -> None:
    network = Params().network.model_copy(update=of_space(space))
    fixed = {key: value for key, value in of_space(space).items() if key != "operations"}
    changes = {**Params().model_dump(), "network": {**network.model_dump(), **fixed}}
    for name in ("parameters", "mflops", "kilobytes"):
        changes["target"] = {name: 1 if name == "parameters" else 0.001}
        with pytest.raises(ValueError, match=rf"target.{name}: .* the smallest network"):
            Params.model_validate(changes)


def test_search_refuses_what_check_cannot_know(searched: Path) -> None:
    phase = searching(searched, target=TargetParams(parameters=10))
    with pytest.raises(ParamsError, match=r"target.parameters: 10 cannot be met"):
        phase.begin()
    assert replace(phase, budget=replace(phase.budget, target=TargetParams())).begin()
