"""Candidates of the finals: distinct draws from the logits, and the preference for the winner."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.batches.randomness import generator
from pipeline.costing.cost import cost
from pipeline.deciding.decision import decide
from pipeline.searching.candidates import draw_candidates, of_operations, prefer
from pipeline.searching.equivalence import normal_form
from pipeline.space.blueprint import Blueprint
from pipeline.space.genotype import Genotype
from pipeline.space.spaces.residual import resnet
from pipeline.targeting.budget import Budget
from pipeline.targeting.params import TargetParams
from tests.conftest import blueprints, blueprints_with_genotypes, of_space, tiny_blueprint

ANYTHING = Budget(target=TargetParams(), image_size=(8, 8))


def logits_of(blueprint: Blueprint, seed: int, scale: float = 1.0) -> torch.Tensor:
    shape = (blueprint.architectures, len(blueprint.edges), len(blueprint.operations))
    return scale * torch.randn(shape, generator=generator(seed, "logits"))


@given(blueprint=blueprints(), seed=st.integers(0, 99), count=st.integers(1, 8))
def test_candidates_are_distinct_and_the_most_likely_is_first(
    blueprint: Blueprint, seed: int, count: int
) -> None:
    logits = logits_of(blueprint, seed)
    draws = generator(seed, "draws")
    found = draw_candidates(logits, blueprint, ANYTHING, count=count, generator=draws)
    assert found[0] == decide(logits, blueprint)
    assert 1 <= len(found) <= count
    assert len({normal_form(one) for one in found}) == len(found)


def test_draws_follow_the_logits() -> None:
    blueprint = tiny_blueprint(**of_space("residual"), cells=3)
    logits = torch.zeros(3, 1, len(blueprint.operations))
    logits[0, 0, 1] = 20.0
    found = draw_candidates(logits, blueprint, ANYTHING, count=8, generator=generator(0, "x"))
    assert len(found) == 8
    decided = {one.architectures[0].nodes[0][0].operation for one in found}
    others = {one.architectures[1].nodes[0][0].operation for one in found}
    assert decided == {blueprint.operations[1]}
    assert len(others) > 1


def test_every_candidate_costs_what_the_budget_allows() -> None:
    blueprint = tiny_blueprint(**of_space("residual"), cells=6)
    budget = Budget(target=TargetParams(parameters=6_000), image_size=(8, 8))
    logits = logits_of(blueprint, 0)
    found = draw_candidates(logits, blueprint, budget, count=8, generator=generator(0, "x"))
    sizes = [cost(blueprint, one, (8, 8)).parameters for one in found]
    assert len(found) == 8
    assert max(sizes) <= 6_000
    free = draw_candidates(logits, blueprint, ANYTHING, count=8, generator=generator(0, "x"))
    assert max(cost(blueprint, one, (8, 8)).parameters for one in free) > 6_000


@given(drawn=blueprints_with_genotypes(), seed=st.integers(0, 99), scale=st.floats(0.1, 20))
def test_what_is_preferred_is_decided_at_one_logit_an_edge(
    drawn: tuple[Blueprint, Genotype], seed: int, scale: float
) -> None:
    blueprint, _ = drawn
    wanted = decide(logits_of(blueprint, seed + 1), blueprint)
    logits = logits_of(blueprint, seed, scale)
    preferred = prefer(logits, wanted, blueprint)
    assert decide(preferred, blueprint) == wanted
    assert preferred.isfinite().all()
    assert (preferred != logits).sum(-1).max() <= 1


def test_the_resnet_is_a_member_of_the_residual_space() -> None:
    blueprint = tiny_blueprint(**of_space("residual"), cells=9)
    genotype = of_operations(resnet([cell.kind for cell in blueprint.cells]), blueprint)
    assert genotype is not None
    operations = [one.nodes[0][0].operation for one in genotype.architectures]
    assert operations == [
        *["basic_3x3"] * 3,
        *["skip_connect", "basic_3x3", "basic_3x3"],
        *["skip_connect", "basic_3x3", "basic_3x3"],
    ]
    without = tiny_blueprint(
        **{**of_space("residual"), "operations": ("skip_connect", "sep_conv_3x3")}, cells=9
    )
    assert of_operations(resnet([cell.kind for cell in without.cells]), without) is None
