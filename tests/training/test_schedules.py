"""Each schedule takes the learning rate from its highest to its last value."""

from math import cos, pi

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.training.schedules import (
    CYCLE_RISE,
    CYCLE_START,
    PLATEAU_EPOCHS,
    PLATEAU_FACTOR,
    SCHEDULES,
    Moment,
    ScheduleParams,
)

HIGHEST = st.floats(0.002, 1)
LAST = st.floats(0, 0.001)
PROGRESS = st.floats(0, 1)
FALLING = ("linear", "cosine")


def rate(name: str, progress: float, *, highest: float = 0.5, last: float = 0.001) -> float:
    return SCHEDULES[name](Moment(highest=highest, last=last, progress=progress))


def params(name: str = "cosine", *, rising: float = 0.0, last: float = 0.001) -> ScheduleParams:
    return ScheduleParams(
        schedule=name, learning_rate=0.5, learning_rate_end=last, rising_epochs=rising
    )


@pytest.mark.parametrize("name", SCHEDULES)
@given(HIGHEST, LAST, PROGRESS)
def test_no_schedule_leaves_what_lies_between_0_and_the_highest_rate(
    name: str, highest: float, last: float, progress: float
) -> None:
    assert 0 <= rate(name, progress, highest=highest, last=last) <= highest * (1 + 1e-9)


@pytest.mark.parametrize("name", FALLING)
@given(HIGHEST, LAST, PROGRESS, PROGRESS)
def test_linear_and_cosine_fall_from_the_highest_rate_to_the_last_and_never_turn(
    name: str, highest: float, last: float, one: float, other: float
) -> None:
    begin, half, end, earlier, later = (
        rate(name, progress, highest=highest, last=last)
        for progress in (0.0, 0.5, 1.0, *sorted((one, other)))
    )
    assert begin == pytest.approx(highest)
    assert half == pytest.approx((highest + last) / 2)
    assert end == pytest.approx(last, abs=1e-12)
    assert later <= earlier + 1e-12


@given(PROGRESS)
def test_a_cosine_is_above_the_line_in_the_first_half_and_below_it_in_the_second(
    progress: float,
) -> None:
    above = rate("cosine", progress) - rate("linear", progress)
    assert above * (0.5 - progress) >= -1e-12
    assert rate("cosine", progress, last=0.0) == pytest.approx(0.25 * (1 + cos(pi * progress)))


@given(HIGHEST, LAST, PROGRESS)
def test_constant_stays(highest: float, last: float, progress: float) -> None:
    assert rate("constant", progress, highest=highest, last=last) == highest


@given(HIGHEST, LAST, PROGRESS, PROGRESS)
def test_one_cycle_rises_to_the_highest_rate_and_falls_to_the_last(
    highest: float, last: float, one: float, other: float
) -> None:
    begin, top, end, earlier, later = (
        rate("one_cycle", progress, highest=highest, last=last)
        for progress in (0.0, CYCLE_RISE, 1.0, *sorted((one, other)))
    )
    assert begin == pytest.approx(CYCLE_START * highest)
    assert top == pytest.approx(highest)
    assert end == pytest.approx(last, abs=1e-12)
    if max(one, other) <= CYCLE_RISE:
        assert later >= earlier - 1e-12
    if min(one, other) >= CYCLE_RISE:
        assert later <= earlier + 1e-12


def waiting(losses: list[float], last: float = 0.0) -> float:
    """Return the learning rate of plateau, from 1, after these losses."""
    return SCHEDULES["plateau"](Moment(highest=1.0, last=last, progress=0.5, losses=losses))


@given(st.floats(0.1, 9), st.integers(0, 20))
def test_a_plateau_lowers_the_rate_after_every_three_epochs_without_progress(
    loss: float, still: int
) -> None:
    lowered = still // PLATEAU_EPOCHS
    assert waiting([loss] * (1 + still)) == pytest.approx(PLATEAU_FACTOR**lowered)
    assert waiting([loss] * (1 + still), last=0.2) == max(0.2, waiting([loss] * (1 + still)))


@given(st.integers(0, 20))
def test_a_loss_that_falls_enough_keeps_the_rate_and_one_that_hardly_falls_does_not(
    epochs: int,
) -> None:
    assert waiting([0.98**epoch for epoch in range(epochs)]) == 1.0
    assert (waiting([0.9999**epoch for epoch in range(epochs)]) < 1.0) == (epochs > PLATEAU_EPOCHS)


def test_progress_starts_the_waiting_anew() -> None:
    assert waiting([3.0, 3.0, 3.0, 2.0, 2.0, 2.0]) == 1.0
    assert waiting([3.0, 3.0, 3.0, 2.0, 2.0, 2.0, 2.0]) == PLATEAU_FACTOR


@given(st.lists(st.floats(0.01, 9), max_size=20))
def test_a_plateau_never_raises_the_rate(losses: list[float]) -> None:
    rates = [waiting(losses[:number]) for number in range(len(losses) + 1)]
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize("name", SCHEDULES)
@given(rising=st.floats(0.01, 12), done=st.floats(0, 10))
def test_rates_rise_evenly_from_0_before_the_schedule_begins(
    name: str, rising: float, done: float
) -> None:
    found = params(name, rising=rising).rate(epochs=10, done=done, losses=())
    if done < min(rising, 10):
        assert found == pytest.approx(0.5 * done / min(rising, 10))
    elif rising < 10:
        assert found == pytest.approx(rate(name, (done - rising) / (10 - rising)), rel=1e-6)


@pytest.mark.parametrize("name", SCHEDULES)
def test_without_rising_epochs_the_schedule_begins_at_once(name: str) -> None:
    for done in (0.0, 2.5, 10.0):
        found = params(name).rate(epochs=10, done=done, losses=())
        assert found == rate(name, done / 10)


def test_an_unknown_schedule_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ValueError, match=r"expected .*, got 'cosinus'") as refused:
        params("cosinus")
    assert all(f"'{name}'" in str(refused.value) for name in SCHEDULES)
