"""The rounds of a successive halving, and who wins them: pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt

CANDIDATES = 4
"""Number of candidates for each place in the first round."""
COMPARED_IMAGES = 1024
"""Largest number of held-out images on which candidates are compared by the supernet's loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result of a network in a round.

    number: of the network. accuracy: on held-out images, a fraction of 1. parameters: its size.
    """

    number: int
    accuracy: float
    parameters: int


def rounds(finalists: int) -> list[int]:
    """Return how many networks train in each round: all, then half of them, until one is left."""
    sizes = []
    while finalists > 1:
        sizes.append(finalists)
        finalists = ceil(finalists / 2)
    return sizes


def best(results: Sequence[Result], count: int, *, images: int) -> list[Result]:
    """Return the `count` best, the best first.

    Accuracies within one standard error of the best are a tie, which goes to the smaller network,
    so that the last bits decide nothing.

    images: number of images on which accuracy was measured.
    """
    left = sorted(results, key=lambda one: (-one.accuracy, one.parameters, one.number))
    chosen: list[Result] = []
    while left and len(chosen) < count:
        top = left[0].accuracy
        error = sqrt(max(top * (1 - top), 0) / images)
        tied = [one for one in left if top - one.accuracy <= error]
        winner = min(tied, key=lambda one: (one.parameters, -one.accuracy, one.number))
        chosen.append(winner)
        left.remove(winner)
    return chosen
