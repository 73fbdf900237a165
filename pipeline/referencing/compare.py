"""Comparison of two classifiers on the same test images.

N test images.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from pipeline.answering.measure import interval
from pipeline.comparison.references import Reference, Verdict

LEVEL = 0.05
"""Two-sided p-value below which a difference counts as more than chance."""


def compare(
    found: NDArray[np.bool_], reference: NDArray[np.bool_], *, name: str, title: str
) -> Reference:
    """Compare both by the images that only one of them gets right (McNemar's exact test).

    found, reference: (N,), true where an answer is right. name, title: those of the reference.
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
    return Reference(
        name=name,
        title=title,
        test_accuracy=right / len(reference),
        low=low,
        high=high,
        difference=(only_found - only_reference) / len(found),
        p_value=p_value,
        verdict=verdict,
    )
