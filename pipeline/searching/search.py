"""Search: steps of weights and architecture alternate while exploring falls to 0."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from pipeline.alternating import state as states
from pipeline.alternating.agreement import Agreement
from pipeline.alternating.alternation import Alternation
from pipeline.alternating.params import SearchParams
from pipeline.alternating.state import SearchState
from pipeline.console.progress import say
from pipeline.deciding.decision import DECIDED
from pipeline.harness.records import Row
from pipeline.space.checkpoint import read_checkpoint
from pipeline.supernet.supernet import SupernetContext, choices
from pipeline.targeting.budget import Budget
from pipeline.training.context import Epoch, losses_of
from pipeline.training.failing import Choices
from pipeline.training.resume import Snapshot
from pipeline.training.stability import Expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The phase (see `Phase`): from the warmed-up supernet of a checkpoint to a searched one."""

    context: SupernetContext
    params: SearchParams
    checkpoint: Path
    budget: Budget
    expected: Expected

    @property
    def epochs(self) -> int:
        """Number of epochs that it runs."""
        return self.params.epochs

    def begin(self) -> SearchState:
        """Return the warmed-up weights and logits, with a little noise on the logits."""
        warmed = read_checkpoint(self.checkpoint, self.context.images.device)
        state = states.start(warmed, self.context, self.params)
        self.budget.fit(state.logits, state.network.blueprint)
        return state

    def train(self, state: SearchState, slowdown: float, done: Sequence[Row]) -> Iterator[Row]:
        """Search; yield a row after each epoch, when `state` is complete."""
        context = replace(self.context, slowdown=slowdown)
        alternation = Alternation(context=context, params=self.params, budget=self.budget)
        for number in range(state.epoch - state.first_epoch, self.params.epochs):
            epoch = Epoch(
                phase="search",
                number=state.epoch + 1,
                done=number,
                epochs=self.params.epochs,
                schedule=self.params,
                losses=losses_of(done),
            )
            yield alternation.run(state, epoch, left=epoch.left)

    def choices(self, state: SearchState) -> Choices:
        """Return what is still to be chosen."""
        return choices(state, self.context)

    def snapshot(self, state: SearchState) -> Snapshot:
        """Return the state as JSON values and tensors, which are not copied."""
        return states.snapshot(state)

    def resumed(self, saved: Snapshot) -> SearchState:
        """Return the state of a snapshot."""
        return states.resumed(saved, self.context)


def drop_at_start(before: float, history: Sequence[Row]) -> float:
    """Return how far validation accuracy fell in the worst of search's first three epochs.

    before: accuracy at the end of warmup. The result is a fraction of 1, at most 0 if it did not
    fall.
    """
    return before - min(float(row["validation_accuracy"]) for row in history[:3])


def say_if_undecided(edges: Tensor, params: SearchParams) -> None:
    """Print which param decides more edges, if any are undecided.

    edges: (A, E), true where no operation won.
    """
    if not edges.any():
        return
    key = "arch_reach" if params.arch_learning_rate == "auto" else "arch_learning_rate"
    say(
        f"search: an edge is open while no operation has a weight of {DECIDED}; a larger"
        f" search.{key} decides more"
    )


def say_if_stopped(agreement: Agreement | None) -> None:
    """Print how many operations stopped learning early, if the params allow it."""
    if agreement:
        say(
            f"search: {int(agreement.stopped.sum())} operations stopped early; of"
            f" {len(agreement.judged)} with weights {int(agreement.judged.sum())} ran often enough"
            " to be judged"
        )
