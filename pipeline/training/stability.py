"""Is training healthy? Verdicts on a history and a score, as pure functions.

Accuracies are fractions of 1, losses nats; both run from the first epoch to the newest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite, log, sqrt
from typing import Literal

from pipeline.harness.records import Row

Verdict = Literal["", "exploded", "degraded", "collapsed", "oscillating", "stagnant"]
""" "" is healthy."""

HEALTH: Mapping[Verdict, float] = {
    "": 1.0,
    "stagnant": 0.8,
    "oscillating": 0.6,
    "collapsed": 0.3,
    "degraded": 0.2,
    "exploded": 0.0,
}
"""The most that a score can be under a verdict."""

EXPLODED = 3.0
"""Times the loss of guessing, ln K."""
KEPT = 0.7
"""Of the best accuracy: below it something was lost."""
LEARNT = 0.1
"""Above guessing: before that there is nothing to lose."""
STANDARD_ERRORS = 4.0
"""A fall that is smaller may be the choice of images."""
COLLAPSED = 0.95
"""Mean weight of one operation over all edges."""
FEWEST_EDGES = 8
"""Fewer may well agree."""
TURNS = 6
"""Epochs in which the loss turns every time..."""
TURN = 0.1
"""...by this fraction of itself."""
PATIENCE = 10
IMPROVEMENT = 0.001
ARRIVED = 0.98
"""Who stands still there has nothing left to gain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a phase is measured against.

    accuracy: the column to watch; None where the task changes from epoch to epoch. images: that it
    is measured on. before: its value when the phase began. edges: whose operations are searched.
    """

    classes: int
    accuracy: str | None = None
    images: int = 1
    before: float = 0.0
    edges: int = 0


def judge(rows: Sequence[Row], expected: Expected) -> Verdict:
    """Return the gravest verdict on the newest epoch."""
    recoveries = rows[-1]["recoveries"]
    losses = [float(row["train_loss"]) for row in rows if row["recoveries"] == recoveries]
    accuracies = _accuracies(rows, expected)
    if exploded(losses[-1], classes=expected.classes):
        return "exploded"
    if degraded(accuracies, classes=expected.classes, images=expected.images):
        return "degraded"
    if collapsed(rows[-1], edges=expected.edges):
        return "collapsed"
    if oscillating(losses):
        return "oscillating"
    return "stagnant" if stagnant(accuracies[1:]) else ""


def health(rows: Sequence[Row], expected: Expected) -> float:
    """Return a score in [0, 1]: what is kept of the best accuracy, less under a verdict."""
    chance = 1 / expected.classes
    accuracies = _accuracies(rows, expected)
    best = max(accuracies, default=0.0) - chance
    kept = max(0.0, accuracies[-1] - chance) / best if best > LEARNT else 1.0
    return min(kept, HEALTH[judge(rows, expected)])


def exploded(loss: float, *, classes: int) -> bool:
    """Whether a loss is no number, or far above that of guessing."""
    return not loss <= EXPLODED * log(classes)  # so written, NaN is above


def degraded(accuracies: Sequence[float], *, classes: int, images: int) -> bool:
    """Whether what was learnt is lost: 39 % to 10 %, but not 16 % to 10 % of a few images."""
    if not accuracies:
        return False
    best, last = max(accuracies), accuracies[-1]
    if not isfinite(last):
        return True
    error = sqrt(best * (1 - best) / images)
    return (
        last < KEPT * best
        and best >= 1 / classes + LEARNT
        and best - last > STANDARD_ERRORS * error
    )


def collapsed(row: Row, *, edges: int) -> bool:
    """Whether practically every edge chose the same operation."""
    shares = [float(value) for name, value in row.items() if name.startswith("share_")]
    return edges >= FEWEST_EDGES and max(shares, default=0.0) >= COLLAPSED


def oscillating(losses: Sequence[float]) -> bool:
    """Whether the loss turns at every epoch, by much; a trend and the scale do not matter."""
    newest = losses[-TURNS:]
    changes = [later - earlier for earlier, later in pairwise(newest)]
    turning = all(one * other < 0 for one, other in pairwise(changes))
    smallest = min(map(abs, changes), default=0.0)
    return len(newest) == TURNS and turning and smallest > TURN * sum(newest) / TURNS


def stagnant(accuracies: Sequence[float]) -> bool:
    """Whether the newest epochs hardly beat the best before them."""
    if len(accuracies) <= PATIENCE:
        return False
    best = max(accuracies[:-PATIENCE])
    return best < ARRIVED and max(accuracies[-PATIENCE:]) - best < IMPROVEMENT


def _accuracies(rows: Sequence[Row], expected: Expected) -> list[float]:
    if expected.accuracy is None:
        return []
    return [expected.before, *(float(row[expected.accuracy]) for row in rows)]
