"""The health of training: verdicts on a history and a score, as pure functions.

Accuracies are fractions of 1, losses in nats; both are ordered from the first epoch to the newest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite, log, sqrt
from typing import Literal

from pipeline.harness.records import Row

Verdict = Literal["", "exploded", "degraded", "collapsed", "oscillating", "stagnant"]
"""Verdict on an epoch; "" is healthy."""

HEALTH: Mapping[Verdict, float] = {
    "": 1.0,
    "stagnant": 0.8,
    "oscillating": 0.6,
    "collapsed": 0.3,
    "degraded": 0.2,
    "exploded": 0.0,
}
"""Largest score under each verdict."""

EXPLODED = 3.0
"""Loss, as a multiple of that of guessing (ln K), above which training has exploded."""
KEPT = 0.7
"""Fraction of the best accuracy below which something was lost."""
LEARNT = 0.1
"""Margin of accuracy over guessing below which nothing has been learnt."""
STANDARD_ERRORS = 4.0
"""Fall of accuracy, in standard errors, up to which it may be chance."""
COLLAPSED = 0.95
"""Mean weight of one operation over all edges at which they have collapsed to it."""
FEWEST_EDGES = 8
"""Smallest number of edges judged for collapse; fewer may agree by chance."""
TURNS = 6
"""Number of newest epochs in which an oscillating loss turns every time."""
TURN = 0.1
"""Smallest change of an oscillating loss at each turn, as a fraction of its mean."""
PATIENCE = 10
IMPROVEMENT = 0.001
ARRIVED = 0.98
"""Accuracy from which on stagnation is not reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a phase is judged against.

    accuracy: column to watch; None if the task changes from epoch to epoch. images: number of
    images it is measured on. before: accuracy when the phase began. edges: number of edges whose
    operations are searched. patience: number of epochs without a better accuracy after which the
    phase ends; 0: it makes all its epochs.
    """

    classes: int
    accuracy: str | None = None
    images: int = 1
    before: float = 0.0
    edges: int = 0
    patience: int = 0


def judge(rows: Sequence[Row], expected: Expected) -> Verdict:
    """Return the most serious verdict on the newest epoch."""
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
    """Return a score in [0, 1]: the kept part of the best accuracy, limited by the verdict."""
    chance = 1 / expected.classes
    accuracies = _accuracies(rows, expected)
    best = max(accuracies, default=0.0) - chance
    kept = max(0.0, accuracies[-1] - chance) / best if best > LEARNT else 1.0
    return min(kept, HEALTH[judge(rows, expected)])


def exploded(loss: float, *, classes: int) -> bool:
    """Whether a loss is not a number, or far above that of guessing."""
    return not loss <= EXPLODED * log(classes)  # also true for NaN


def degraded(accuracies: Sequence[float], *, classes: int, images: int) -> bool:
    """Whether what was learnt is lost: from 39 % to 10 %, but not 16 % to 10 % on few images."""
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
    """Whether almost every edge chose the same operation."""
    shares = [float(value) for name, value in row.items() if name.startswith("share_")]
    return edges >= FEWEST_EDGES and max(shares, default=0.0) >= COLLAPSED


def oscillating(losses: Sequence[float]) -> bool:
    """Whether the loss turns at every epoch, each time by a large fraction of its mean."""
    newest = losses[-TURNS:]
    changes = [later - earlier for earlier, later in pairwise(newest)]
    turning = all(one * other < 0 for one, other in pairwise(changes))
    smallest = min(map(abs, changes), default=0.0)
    return len(newest) == TURNS and turning and smallest > TURN * sum(newest) / TURNS


def stagnant(accuracies: Sequence[float]) -> bool:
    """Whether the newest epochs hardly improve on the best before them."""
    if len(accuracies) <= PATIENCE:
        return False
    best = max(accuracies[:-PATIENCE])
    return best < ARRIVED and max(accuracies[-PATIENCE:]) - best < IMPROVEMENT


def best(rows: Sequence[Row], expected: Expected) -> int:
    """Return the index of the first epoch with the highest accuracy."""
    accuracies = _accuracies(rows, expected)[1:]
    return accuracies.index(max(accuracies))


def out_of_patience(rows: Sequence[Row], expected: Expected) -> bool:
    """Whether the phase ends, because the newest epochs have no better accuracy than before."""
    if not expected.patience or not rows:
        return False
    return len(rows) - 1 - best(rows, expected) >= expected.patience


def _accuracies(rows: Sequence[Row], expected: Expected) -> list[float]:
    if expected.accuracy is None:
        return []
    return [expected.before, *(float(row[expected.accuracy]) for row in rows)]
