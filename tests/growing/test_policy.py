"""When and how to grow, as far as history and budget allow."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.costing.cost import cost
from pipeline.events.event import Kind
from pipeline.growing.blueprints import deepen, widen
from pipeline.growing.params import GrowthParams
from pipeline.growing.policy import Size, choose, extend, hurts, size, stagnates
from pipeline.space.blueprint import Blueprint
from pipeline.space.genotype import Genotype, check_fit
from pipeline.targeting.budget import Budget
from pipeline.targeting.params import TargetParams
from tests.conftest import blueprints_with_genotypes, costly, tiny, tiny_blueprint
from tests.costing.test_cost import ONE_CELL
from tests.costing.test_cost import genotype as one_genotype
from tests.phases import FREE

ACCURACIES = st.lists(st.floats(0, 1), min_size=1, max_size=8)
WIDE = {"max_cells": 99, "max_channels": 99}


@given(ACCURACIES, st.integers(1, 9), st.floats(0, 0.9))
def test_a_history_no_longer_than_patience_decides_nothing(
    accuracies: list[float], patience: int, least: float
) -> None:
    if len(accuracies) <= patience:
        assert not stagnates(accuracies, patience=patience, min_improvement=least)


@given(ACCURACIES, st.integers(1, 4), st.floats(0, 0.9), st.floats(0, 0.9))
def test_who_asks_for_more_improvement_grows_no_later(
    accuracies: list[float], patience: int, one: float, other: float
) -> None:
    modest, demanding = sorted((one, other))
    if stagnates(accuracies, patience=patience, min_improvement=modest):
        assert stagnates(accuracies, patience=patience, min_improvement=demanding)


@given(st.floats(0, 1), st.integers(1, 4), st.integers(1, 4), st.floats(0.01, 0.9))
def test_accuracy_that_stands_still_stagnates_and_a_jump_puts_growth_off(
    level: float, patience: int, extra: int, least: float
) -> None:
    still = [level] * (patience + extra)
    assert stagnates(still, patience=patience, min_improvement=least)
    jump = [*still[:-1], level + 1.01 * least]
    assert not stagnates(jump, patience=patience, min_improvement=least)


@given(ACCURACIES, st.integers(1, 4), st.data())
def test_only_the_best_of_the_last_epochs_counts_not_their_order(
    accuracies: list[float], patience: int, data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(accuracies[-patience:]))
    again = accuracies[:-patience] + list(shuffled)
    verdicts = {
        stagnates(history, patience=patience, min_improvement=0.1)
        for history in (accuracies, again)
    }
    assert len(verdicts) == 1


@given(ACCURACIES, ACCURACIES, st.floats(0, 1), st.floats(0, 1))
def test_a_loss_that_a_little_tolerance_forgives_more_tolerance_forgives_too(
    before: list[float], after: list[float], one: float, other: float
) -> None:
    strict, lenient = sorted((one, other))
    if not hurts(before, after, tolerance=strict):
        assert not hurts(before, after, tolerance=lenient)


@given(ACCURACIES, st.floats(0, 0.5))
def test_a_growth_that_lost_nothing_does_not_hurt(before: list[float], gain: float) -> None:
    assert not hurts(before, before, tolerance=0.0)
    assert not hurts(before, [accuracy + gain for accuracy in before], tolerance=0.0)
    assert hurts(before, [accuracy - 0.2 for accuracy in before], tolerance=0.1)


@costly
@given(blueprints_with_genotypes(), st.sampled_from([None, "deepen", "widen"]), st.data())
def test_whatever_is_chosen_is_within_the_budget_and_one_growth_away(
    pair: tuple[Blueprint, Genotype], last: Kind | None, data: st.DataObject
) -> None:
    blueprint, genotype = pair
    now = cost(blueprint, genotype, (8, 8))
    params = tiny(
        GrowthParams,
        max_cells=len(blueprint.cells) + data.draw(st.integers(0, 1)),
        max_channels=blueprint.cells[0].channels * data.draw(st.integers(1, 2)),
    )
    target = TargetParams(
        parameters=int(now.parameters * data.draw(st.floats(1, 3))),
        mflops=data.draw(st.none() | st.floats(1, 3).map(lambda times: now.mflops * times)),
    )
    budget = Budget(target=target, image_size=(8, 8))
    choice = choose(blueprint, genotype, budget, params, last=last, refused=frozenset())
    if choice is None:
        return
    kind, grown = choice
    assert grown == (deepen(blueprint) if kind == "deepen" else widen(blueprint, 1.5))
    reached = cost(grown, extend(genotype, grown), (8, 8))
    assert len(grown.cells) <= params.max_cells
    assert grown.cells[0].channels <= params.max_channels
    assert all(reached.value(name) <= limit for name, limit in target.limits.items())


def chosen(
    params: GrowthParams,
    last: Kind | None = None,
    *refused: tuple[Kind, Size],
    target: TargetParams = FREE,
) -> Kind | None:
    choice = choose(
        ONE_CELL,
        one_genotype("conv_3x3"),
        Budget(target=target, image_size=(8, 8)),
        params,
        last=last,
        refused=frozenset(refused),
    )
    return choice and choice[0]


def test_the_kinds_take_turns() -> None:
    params = tiny(GrowthParams, **WIDE)
    assert chosen(params) == "deepen"
    assert chosen(params, "deepen") == "widen"
    assert chosen(params, "widen") == "deepen"
    other_way_round = tiny(GrowthParams, kinds=("widen", "deepen"), **WIDE)
    assert chosen(other_way_round) == "widen"
    assert chosen(tiny(GrowthParams, kinds=("deepen",), **WIDE), "deepen") == "deepen"
    assert chosen(tiny(GrowthParams, kinds=(), **WIDE)) is None


def test_a_refused_kind_is_not_tried_again_at_the_same_size() -> None:
    params, here = tiny(GrowthParams, **WIDE), size(ONE_CELL)
    assert chosen(params, None, ("deepen", here)) == "widen"
    assert chosen(params, None, ("deepen", here), ("widen", here)) is None
    elsewhere = replace(here, cells=here.cells + 1)
    assert chosen(params, None, ("deepen", elsewhere)) == "deepen"


def test_a_growth_beyond_the_most_channels_is_passed_over() -> None:
    assert chosen(tiny(GrowthParams, **{**WIDE, "max_channels": 4})) == "deepen"


@pytest.mark.parametrize(
    "target", [TargetParams(parameters=1), TargetParams(mflops=0.001), TargetParams(kilobytes=5)]
)
def test_a_growth_beyond_any_one_limit_of_the_target_is_passed_over(target: TargetParams) -> None:
    assert chosen(tiny(GrowthParams, **WIDE), target=target) is None


def test_at_the_largest_number_of_cells_only_widening_is_left() -> None:
    blueprint = tiny_blueprint(cells=3, nodes=1, operations=ONE_CELL.operations)
    genotype = Genotype(architectures=one_genotype("conv_3x3").architectures * 2)
    params = tiny(GrowthParams, **{**WIDE, "max_cells": 3})
    budget = Budget(target=FREE, image_size=(8, 8))
    choice = choose(blueprint, genotype, budget, params, last=None, refused=frozenset())
    assert choice is not None
    assert choice[0] == "widen"


@given(blueprints_with_genotypes())
def test_a_genotype_is_extended_to_fit_the_deeper_blueprint(
    pair: tuple[Blueprint, Genotype],
) -> None:
    blueprint, genotype = pair
    deeper = deepen(blueprint)
    extended = extend(genotype, deeper)
    check_fit(extended, deeper)
    known = len(genotype.architectures)
    assert extended.architectures[:known] == genotype.architectures
