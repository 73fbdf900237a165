"""Verdicts and the health score are pure functions of the history."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.harness.records import Row
from pipeline.training.stability import (
    HEALTH,
    Expected,
    collapsed,
    degraded,
    exploded,
    health,
    judge,
    oscillating,
    stagnant,
)

FRACTION = st.floats(0, 1)
CIFAR = Expected(classes=10, accuracy="accuracy", images=1000, edges=28)


def rows(accuracies: list[float], losses: list[float] | None = None) -> list[Row]:
    losses = losses or [2.0 / (number + 1) for number in range(len(accuracies))]
    return [
        {"train_loss": loss, "accuracy": accuracy, "recoveries": 0, "share_skip_connect": 0.3}
        for loss, accuracy in zip(losses, accuracies, strict=True)
    ]


def test_a_run_that_gets_better_is_healthy() -> None:
    history = rows([0.1, 0.2, 0.3, 0.35, 0.4])
    assert [judge(history[:last], CIFAR) for last in range(1, 6)] == [""] * 5
    assert health(history, CIFAR) == 1.0


def test_the_fall_of_the_earlier_system_is_seen_at_once() -> None:
    history = rows([0.30, 0.39, 0.10])
    assert judge(history, CIFAR) == "degraded"
    assert health(history, CIFAR) <= 0.2


def test_a_fall_below_what_the_phase_began_with_counts_too() -> None:
    assert judge(rows([0.10]), CIFAR) == ""
    began_at_39 = Expected(classes=10, accuracy="accuracy", images=1000, before=0.39)
    assert judge(rows([0.10]), began_at_39) == "degraded"


@pytest.mark.parametrize("loss", [math.nan, math.inf, 1e6])
def test_a_loss_that_is_no_number_or_huge_is_the_gravest_of_all(loss: float) -> None:
    history = rows([0.39, 0.10], [1.5, loss])
    assert judge(history, CIFAR) == "exploded"
    assert health(history, CIFAR) <= 0.2


@given(st.integers(2, 1000))
def test_the_loss_of_guessing_is_no_explosion(classes: int) -> None:
    assert not exploded(math.log(classes), classes=classes)
    assert exploded(4 * math.log(classes), classes=classes)


@given(st.lists(FRACTION, max_size=20), st.integers(2, 100), st.integers(1, 10**5))
def test_the_best_epoch_so_far_is_never_degraded(
    accuracies: list[float], classes: int, images: int
) -> None:
    best = max(accuracies, default=0.0)
    assert not degraded([*accuracies, best], classes=classes, images=images)


@given(FRACTION, FRACTION, st.integers(2, 100))
def test_the_fewer_the_images_the_more_may_be_chance(
    before: float, after: float, classes: int
) -> None:
    verdicts = [degraded([before, after], classes=classes, images=n) for n in (10, 100, 10**4)]
    assert verdicts == sorted(verdicts)


def test_who_has_learnt_nothing_can_lose_nothing() -> None:
    assert not degraded([0.16, 0.10], classes=10, images=10**6)
    assert degraded([0.21, 0.10], classes=10, images=10**6)


def test_an_accuracy_that_is_no_number_is_lost() -> None:
    assert degraded([0.5, math.nan], classes=10, images=100)


def test_all_edges_with_one_operation_are_a_collapse_unless_they_are_few() -> None:
    row: Row = {"share_none": 0.01, "share_skip_connect": 0.97, "entropy": 0.1}
    assert collapsed(row, edges=28)
    assert not collapsed(row, edges=4)
    assert not collapsed({**row, "share_skip_connect": 0.9}, edges=28)


@given(st.floats(1e-3, 1e3), st.floats(0.3, 0.9), st.floats(-0.05, 0.05))
def test_oscillation_depends_on_neither_scale_nor_trend(
    scale: float, swing: float, trend: float
) -> None:
    losses = [scale * (1 + trend * n + swing * (-1) ** n / 2) for n in range(8)]
    assert oscillating(losses)
    assert not oscillating(losses[:5])


@given(st.lists(st.floats(0.01, 10), min_size=6, max_size=12, unique=True))
def test_what_only_falls_does_not_oscillate(losses: list[float]) -> None:
    assert not oscillating(sorted(losses, reverse=True))


def test_a_slight_tremble_is_no_oscillation() -> None:
    assert not oscillating([1.0 + 0.01 * (-1) ** n for n in range(12)])


def test_standing_still_takes_more_than_ten_epochs() -> None:
    assert not stagnant([0.5] * 10)
    assert stagnant([0.5] * 11)
    assert not stagnant([0.5] * 10 + [0.52])
    assert not stagnant([0.99] * 20)


def test_without_a_column_to_watch_only_the_loss_counts() -> None:
    history: list[Row] = [{"train_loss": 1.0, "recoveries": 0}]
    assert judge(history, Expected(classes=10)) == ""
    assert health(history, Expected(classes=10)) == 1.0


@given(
    st.lists(st.tuples(FRACTION, st.floats(allow_nan=True)), min_size=1, max_size=15),
    st.integers(2, 100),
    st.floats(0, 1),
)
def test_health_is_a_fraction_and_at_most_what_the_verdict_allows(
    history: list[tuple[float, float]], classes: int, before: float
) -> None:
    expected = Expected(classes=classes, accuracy="accuracy", images=100, before=before, edges=28)
    made = rows([accuracy for accuracy, _ in history], [loss for _, loss in history])
    assert 0 <= health(made, expected) <= HEALTH[judge(made, expected)] <= 1
