"""Paired comparisons of two methods on the same seeds."""

from collections.abc import Sequence
from statistics import mean

from scipy.stats import ttest_rel, wilcoxon


def paired(ours: Sequence[float], other: Sequence[float]) -> dict[str, float]:
    """Return the mean difference, and the probabilities of one as large without any effect.

    ours, other: one figure per seed, in the same order. t, wilcoxon: two-sided probabilities; 1 for
    a single seed, or if all seeds agree to the last digit.
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
    """Return as text the difference, the seeds ahead and behind, and both probabilities."""
    return (
        f"{found['difference']:+.2f}",
        f"{found['ahead']} / {found['behind']}",
        f"{found['t']:.3f}, {found['wilcoxon']:.3f}",
    )
