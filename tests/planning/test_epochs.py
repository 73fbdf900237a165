"""How many epochs fit into a time, and how they are divided among the phases."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.harness.errors import RunError
from pipeline.planning.epochs import duration, fit, parts_of_warmup, scaled
from pipeline.warming.params import WarmupParams
from pipeline.warming.warm import exploration
from tests.conftest import tiny

PHASES = ("warmup", "search", "growth", "optimize")
COUNTS = st.fixed_dictionaries(dict.fromkeys(PHASES, st.integers(1, 300)))
SECONDS = st.fixed_dictionaries(dict.fromkeys(PHASES, st.floats(0.01, 1e3)))
TIMES = st.floats(1.01, 1e4)
"""Budgets, as multiples of the seconds of one epoch of each phase."""


@given(COUNTS, SECONDS, TIMES)
def test_a_plan_is_the_longest_of_these_proportions_that_fits(
    before: dict[str, int], seconds: dict[str, float], times: float
) -> None:
    budget = times * sum(seconds.values())
    after = fit(before, seconds, budget)
    assert duration(after, seconds) <= budget
    # The factors that would round to more epochs of a phase, each the smallest one.
    next_factors = [(count + 0.5) / before[phase] for phase, count in after.items()]
    factor = min(next_factors) * (1 + 1e-9)
    assert after == scaled(before, factor * (1 - 1e-8))
    assert duration(scaled(before, factor), seconds) > budget


@given(COUNTS, SECONDS, TIMES, st.floats(1, 100))
def test_more_time_never_gives_fewer_epochs(
    before: dict[str, int], seconds: dict[str, float], times: float, more: float
) -> None:
    budget = times * sum(seconds.values())
    fewer, others = fit(before, seconds, budget), fit(before, seconds, more * budget)
    assert all(fewer[phase] <= others[phase] for phase in PHASES)


@given(COUNTS, SECONDS)
def test_the_time_that_the_epochs_take_gives_these_epochs(
    before: dict[str, int], seconds: dict[str, float]
) -> None:
    assert fit(before, seconds, duration(before, seconds) * (1 + 1e-9)) == before


def test_too_little_time_for_one_epoch_each_is_refused_with_what_is_enough() -> None:
    with pytest.raises(RunError, match=r"^--minutes 3: too few .* at least 4\.01 are needed$"):
        fit(dict.fromkeys(PHASES, 5), dict.fromkeys(PHASES, 60.0), 180.0)
    assert fit(dict.fromkeys(PHASES, 5), dict.fromkeys(PHASES, 60.0), 4.01 * 60) == dict.fromkeys(
        PHASES, 1
    )


@given(st.integers(1, 50), st.data())
def test_a_shorter_warmup_is_valid_and_still_trains_every_operation(
    epochs: int, data: st.DataObject
) -> None:
    skip = data.draw(st.integers(0, epochs - 1))
    ramp = data.draw(st.integers(1, epochs - skip))
    before = tiny(WarmupParams, epochs=epochs, skip_epochs=skip, ramp_epochs=ramp)
    count = data.draw(st.integers(1, epochs))
    after = tiny(WarmupParams, epochs=count, **parts_of_warmup(before, count))
    assert exploration(after, count) == after.explore


@pytest.mark.parametrize("epochs", [9, 12, 100])
def test_the_parts_of_warmup_stay_as_they_are_where_they_fit(epochs: int) -> None:
    parts: dict[str, Any] = {"skip_epochs": 3, "ramp_epochs": 6}
    assert parts_of_warmup(tiny(WarmupParams, epochs=12, **parts), epochs) == parts
