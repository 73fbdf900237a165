"""How many passes over images the whole pipeline makes, so that a reference may make as many."""

from typing import Protocol

from pipeline.referencing.params import SearchPassesParams

FORWARD = 1 / 3
"""Cost of a pass that only computes outputs, as a part of one that trains on them."""


class Counted(Protocol):
    """The section of a phase."""

    @property
    def epochs(self) -> int:
        """How many it runs."""


def epochs_of_all_passes(
    warmup: Counted,
    search: SearchPassesParams,
    growth: Counted,
    optimize: Counted,
    *,
    searched: int,
    trained: int,
) -> int:
    """Return for how many epochs of optimize the passes of all phases would last.

    A pass is one image in one weight step. An architecture step counts as much, or with `score`
    a third for each of its paths, which it only evaluates.

    searched, trained: images of an epoch of the searching phases, and of optimize.
    """
    paths = search.arch_paths * FORWARD if search.arch_gradient == "score" else 1
    with_architecture = 1 + paths / (search.arch_update_freq - 1)
    searching = warmup.epochs + with_architecture * (search.epochs + growth.epochs)
    return optimize.epochs + round(searching * searched / trained)
