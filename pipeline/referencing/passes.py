"""The number of passes over images of the whole pipeline, for references that make as many."""

from typing import Protocol

from pipeline.halving.bracket import CANDIDATES, COMPARED_IMAGES, rounds
from pipeline.referencing.params import SearchPassesParams
from pipeline.training.steps import FORWARD


class Counted(Protocol):
    """The section of a phase."""

    @property
    def epochs(self) -> int:
        """Number of epochs that it runs."""


def epochs_of_all_passes(
    warmup: Counted,
    search: SearchPassesParams,
    growth: Counted,
    optimize: Counted,
    *,
    searched: int,
    trained: int,
) -> int:
    """Return the number of epochs of optimize that make as many passes as all phases.

    A pass is one image in one weight step. An architecture step counts the same, or with `score`
    a third for each of its paths, which it only evaluates; so does a candidate of the finals.

    searched, trained: images per epoch of the phases before optimize, and of optimize.
    """
    paths = search.arch_paths * FORWARD if search.arch_gradient == "score" else 1
    with_architecture = 1 + paths / (search.arch_update_freq - 1)
    searching = warmup.epochs + with_architecture * (search.epochs + growth.epochs)
    finals = sum(rounds(search.finalists)) * search.finalist_epochs
    compared = CANDIDATES * search.finalists * COMPARED_IMAGES * FORWARD
    return optimize.epochs + round(((searching + finals) * searched + compared) / trained)
