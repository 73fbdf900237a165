"""An operation that fails is found, named, and taken out of the search.

An epoch fails if a loss or a gradient is not finite, or if an operation raises an error, in its
forward or backward pass. Draws are counter-based, so a replay of the epoch from the newest resume
point meets the same failure. Only in the replay every operation is checked: its output, and the
gradients that it gives to its input and its weights. The first operation that turns finite numbers
into NaN or infinity, or raises, is to blame. Its logit becomes minus infinity, on that edge in all
cells of that architecture. So it is never drawn, run or decided again, and whatever holds the
logits (resume points, checkpoints) holds this too. The epoch is then repeated at the same learning
rates. If no operation is to blame, the weights have diverged, and the rates are halved as usual.
A network whose architecture is fixed cannot do without an operation, so its training ends.

Lack of memory or a broken device is no failure of an operation. Several processes replay too and
agree on what failed first; but an operation that raises an error in one of them ends them all.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from pipeline.harness.errors import TrainingFailedError
from pipeline.harness.records import Row
from pipeline.space.blueprint import Blueprint
from pipeline.space.relaxation import disabled
from pipeline.space.space import NONE, SKIP
from pipeline.training.checks import Place, first_failure

S = TypeVar("S")
S_contra = TypeVar("S_contra", contravariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a phase has still to choose from.

    logits: the logits that it goes on from, then those that it may go back to, each (A, E, O).
    most: largest number of operations that may be disabled in a run.
    """

    logits: Sequence[Tensor]
    blueprint: Blueprint
    most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An operation that failed. epoch: of the phase, from 1. what: what it did."""

    epoch: int
    place: Place
    what: str

    def __str__(self) -> str:
        """Return one line."""
        return f"{self.place}: {self.what}"


class OperationFailedError(TrainingFailedError):
    """An operation failed that must not be disabled. failure: which one, and what it did."""

    def __init__(self, line: str, failure: Failure) -> None:
        """Create it. line: what a person reads."""
        super().__init__(line)
        self.failure = failure


class Replayed(Protocol[S_contra]):
    """What a replay needs of a phase."""

    def train(self, state: S_contra, slowdown: float, done: Sequence[Row]) -> Iterator[Row]:
        """Train; yield a row after each epoch."""

    def choices(self, state: S_contra) -> Choices | None:
        """Return what is still to be chosen; None if the architecture is fixed."""


def disable(choices: Choices | None, failures: Iterable[Failure]) -> None:
    """Disable the operations that failed, in place."""
    with torch.no_grad():
        for logits in choices.logits if choices else ():
            for place in (one.place for one in failures):
                if place.architecture < logits.shape[0] and place.edge < logits.shape[1]:
                    logits[place.architecture, place.edge, place.operation] = -torch.inf


def find(
    phase: Replayed[S], newest: Callable[[], tuple[S, list[Row]]], slowdown: float, *, name: str
) -> Failure | None:
    """Replay the newest epoch with checks; return which operation failed, or None.

    newest: returns the state before the epoch, and the rows up to it. It is replayed too, because
    optimize begins with a pass through its network. name: of the phase.

    Raises:
        OperationFailedError: an operation failed that must not be disabled.
    """
    choices, epoch = None, 1

    def replay() -> None:
        nonlocal choices, epoch
        state, done = newest()
        choices, epoch = phase.choices(state), len(done) + 1
        next(phase.train(state, slowdown, done), None)

    if not (found := first_failure(replay)):
        return None
    failure = Failure(epoch=epoch, place=found[0], what=found[1])
    if refused := refusal(choices, failure.place):
        raise OperationFailedError(f"{name}: epoch {epoch}: {failure}; {refused}", failure)
    return failure


def refusal(choices: Choices | None, place: Place) -> str:
    """Return why an operation must not be disabled, and what to do; '' if it may be."""
    if place.name == SKIP:
        return f"every edge needs {SKIP}, so it is never disabled; its input may be too large"
    if choices is None:
        return "the architecture is fixed; take it out of network.operations and search again"
    [logits, *_], names = choices.logits, choices.blueprint.operations
    gone = disabled(logits)
    if int(gone.sum()) >= choices.most:
        return f"training.max_disabled is {choices.most}; raise it, or change network.operations"
    others = {
        name
        for name, is_gone in zip(names, gone[place.architecture, place.edge].tolist(), strict=True)
        if not is_gone
    } - {NONE, SKIP, place.name}
    return "" if others else f"no other operation but {SKIP} is left there; add network.operations"
