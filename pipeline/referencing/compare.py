"""Two classifiers on the same test images: is one of them better?

N test images.
"""

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from pipeline.comparison.references import Verdict
from pipeline.deriving.measure import interval

LEVEL = 0.05
"""Two-sided probability below which a difference counts as more than chance."""


class Comparison(TypedDict):
    """The fields of a Reference that a comparison decides."""

    test_accuracy: float
    low: float
    high: float
    difference: float
    p_value: float
    verdict: Verdict


def compare(found: NDArray[np.bool_], reference: NDArray[np.bool_]) -> Comparison:
    """Compare by the images that only one of them gets right (McNemar's exact test).

    found, reference: (N,) whether each answer is right.
    """
    only_found = int((found & ~reference).sum())
    only_reference = int((reference & ~found).sum())
    differing = only_found + only_reference
    p_value = float(binomtest(only_found, differing).pvalue) if differing else 1.0
    verdict: Verdict = "tie"
    if p_value < LEVEL:
        verdict = "better" if only_found > only_reference else "worse"
    right = int(reference.sum())
    low, high = interval(right, len(reference))
    return {
        "test_accuracy": right / len(reference),
        "low": low,
        "high": high,
        "difference": (only_found - only_reference) / len(found),
        "p_value": p_value,
        "verdict": verdict,
    }
