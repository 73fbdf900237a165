"""Paired comparisons: two ways that were tried on the same seeds."""

from collections.abc import Sequence
from statistics import mean

from scipy.stats import ttest_rel, wilcoxon


def paired(ours: Sequence[float], other: Sequence[float]) -> dict[str, float]:
    """Return the mean difference and how probable one as large is if there were none.

    ours, other: one figure a seed, in the same order. t, wilcoxon: two-sided probabilities; of one
    seed, or where all seeds agree to the last digit, 1.
    """
    differences = [a - b for a, b in zip(ours, other, strict=True)]
    tests = {"t": 1.0, "wilcoxon": 1.0}
    if len(set(differences)) > 1:
        tests["t"] = float(ttest_rel(ours, other).pvalue)
        tests["wilcoxon"] = float(wilcoxon(differences).pvalue)
    return {
        "difference": mean(differences),
        "ahead": sum(one > 0 for one in differences),
        "behind": sum(one < 0 for one in differences),
        **tests,
    }


def describe(found: dict[str, float]) -> tuple[str, str, str]:
    """Return a difference, how many seeds were ahead and behind, and both probabilities."""
    return (
        f"{found['difference']:+.2f}",
        f"{found['ahead']} / {found['behind']}",
        f"{found['t']:.3f}, {found['wilcoxon']:.3f}",
    )
