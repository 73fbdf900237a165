"""The most likely network keeps to a target, at the smallest price, or the params are refused."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.batches.randomness import generator
from pipeline.costing.cost import cost
from pipeline.deciding.decision import decide
from pipeline.harness.errors import ParamsError
from pipeline.space.blueprint import Blueprint
from pipeline.targeting.budget import Budget
from pipeline.targeting.params import TargetParams
from tests.conftest import blueprints, costly, of_space, random_logits, tiny_blueprint

SIDE = (8, 8)
NAMES = ["parameters", "mflops", "kilobytes"]


def budget(name: str, limit: float) -> Budget:
    whole = int(limit) if name == "parameters" else limit
    return Budget(target=TargetParams(**{name: whole}), image_size=SIDE)


def noise(blueprint: Blueprint, seed: int, scale: float) -> torch.Tensor:
    shape = (blueprint.architectures, len(blueprint.edges), len(blueprint.operations))
    return scale * torch.randn(shape, generator=generator(seed, "logits"))


@costly
@given(
    blueprints(), st.integers(0, 99), st.floats(0.1, 20), st.sampled_from(NAMES), st.floats(0, 1)
)
def test_the_most_likely_network_meets_a_target_that_another_network_meets(
    blueprint: Blueprint, seed: int, scale: float, name: str, between: float
) -> None:
    logits = noise(blueprint, seed, scale)
    start = cost(blueprint, decide(logits, blueprint), SIDE).value(name)
    other = cost(blueprint, decide(noise(blueprint, seed + 1, 1.0), blueprint), SIDE).value(name)
    limit = int(other + between * (start - other)) + 1
    before = logits.clone()
    try:
        budget(name, limit).fit(logits, blueprint)
    except ParamsError:
        # A price on costs reaches the cheapest operations of all edges, not the cheapest edges.
        assert not blueprint.rules.is_chain
        return
    assert cost(blueprint, decide(logits, blueprint), SIDE).value(name) <= limit
    assert logits.isfinite().all()
    assert torch.equal(logits, before) == (start <= limit)


def test_a_target_that_is_met_changes_nothing() -> None:
    blueprint = tiny_blueprint()
    logits = random_logits(blueprint)
    before = logits.clone()
    budget("parameters", 10**9).fit(logits, blueprint)
    Budget(target=TargetParams(), image_size=SIDE).fit(logits, blueprint)
    assert torch.equal(logits, before)


def test_what_is_worth_its_cost_stays() -> None:
    """Of two layers that cost the same, the one that matters less is given up."""
    blueprint = tiny_blueprint(**of_space("residual"), cells=3, channels=4)
    basic = blueprint.operations.index("basic_3x3")
    logits = torch.zeros(3, 1, len(blueprint.operations))
    logits[:, 0, basic] = torch.tensor([3.0, 4.0, 5.0])
    whole = cost(blueprint, decide(logits, blueprint), SIDE).parameters
    budget("parameters", whole - 1).fit(logits, blueprint)
    kept = [one.nodes[0][0].operation for one in decide(logits, blueprint).architectures]
    # The last layer is the widest by far, so that giving it up is cheap for its cost.
    assert kept[:2] == ["basic_3x3", "basic_3x3"]
    assert kept[2] != "basic_3x3"


def test_two_limits_are_met_together() -> None:
    blueprint = tiny_blueprint(**of_space("residual"), cells=6, channels=8)
    logits = random_logits(blueprint)
    before = cost(blueprint, decide(logits, blueprint), SIDE)
    target = TargetParams(parameters=int(0.9 * before.parameters), mflops=0.7 * before.mflops)
    Budget(target=target, image_size=SIDE).fit(logits, blueprint)
    found = cost(blueprint, decide(logits, blueprint), SIDE)
    assert found.parameters <= 0.9 * before.parameters
    assert found.mflops <= 0.7 * before.mflops


def test_what_cannot_be_met_is_refused_by_name_with_the_smallest() -> None:
    blueprint = tiny_blueprint()
    with pytest.raises(ParamsError, match=r"^target.parameters: 10 cannot be met: .* has [\d,]+;"):
        budget("parameters", 10).fit(random_logits(blueprint), blueprint)
