"""How many epochs of each phase fit into a time: pure functions of measured seconds."""

from collections.abc import Mapping
from math import floor

from pipeline.harness.errors import RunError
from pipeline.warming.params import WarmupParams

Epochs = dict[str, int]
"""Number of epochs by phase."""
HALVINGS = 100
"""Number of halvings of the interval in which the common factor is sought."""


def fit(before: Mapping[str, int], seconds: Mapping[str, float], budget: float) -> Epochs:
    """Return the most epochs that together take at most `budget` seconds.

    All are multiplied by one factor, rounded, and at least 1.

    Args:
        before: epochs whose proportions are kept.
        seconds: seconds of one epoch of each phase.
        budget: seconds of all epochs.

    Raises:
        RunError: one epoch of each phase takes longer; the message has the minutes that are needed.
    """
    if (least := sum(seconds.values())) > budget:
        raise RunError(
            f"--minutes {budget / 60:g}: too few for one epoch of each phase on this machine;"
            f" at least {shown_up(least / 60)} are needed"
        )
    low, high = 0.0, 1.0
    while duration(scaled(before, high), seconds) <= budget:
        low, high = high, 2 * high
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if duration(scaled(before, middle), seconds) <= budget:
            low = middle
        else:
            high = middle
    return scaled(before, low)


def scaled(before: Mapping[str, int], factor: float) -> Epochs:
    """Return each number times `factor`, rounded, at least 1."""
    return {phase: max(1, floor(factor * count + 0.5)) for phase, count in before.items()}


def duration(epochs: Mapping[str, int], seconds: Mapping[str, float]) -> float:
    """Return the seconds of all epochs."""
    return sum(count * seconds[phase] for phase, count in epochs.items())


def parts_of_warmup(params: WarmupParams, epochs: int) -> dict[str, int]:
    """Return `skip_epochs` and `ramp_epochs` for another number of epochs of warmup.

    They stay if they fit into it one after the other, or if warmup gets no shorter. Else both
    shrink with warmup, so that epochs are left in which it trains every operation.
    """
    skip, ramp = params.skip_epochs, params.ramp_epochs
    if epochs < params.epochs and skip + ramp > epochs:
        skip, ramp = (count * epochs // params.epochs for count in (skip, ramp))
    return {"skip_epochs": skip, "ramp_epochs": max(1, ramp)}


def shown_up(minutes: float) -> str:
    """Return minutes with two decimals, rounded up, so that they are enough."""
    return f"{floor(100 * minutes + 1) / 100:g}"
