"""An operation that fails is found, named, and taken out of the search.

An epoch fails if a loss or a gradient is not finite, or if an operation raises an error. Draws are
counter-based, so a replay of the epoch from the newest resume point meets the same failure. Only in
the replay the output of every operation is checked. The first operation that turns finite inputs
into NaN or infinity, or raises, is to blame. Its logit becomes minus infinity, on that edge in all
cells of that architecture. So it is never drawn, run or decided again, and whatever holds the
logits (resume points, checkpoints) holds this too. The epoch is then repeated at the same learning
rates. If no operation is to blame, the weights have diverged, and the rates are halved as usual.

Lack of memory or a broken device is no failure of an operation. Several processes do not replay,
because each sees only its own images and would decide for itself.
"""

import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from pipeline.harness import ranks
from pipeline.harness.errors import LONGEST_REASON, TrainingFailedError
from pipeline.harness.lacks import ending
from pipeline.harness.records import Row
from pipeline.harness.showing import shown
from pipeline.space.blueprint import Blueprint
from pipeline.space.cell import Edge
from pipeline.space.network import Network
from pipeline.space.relaxation import disabled
from pipeline.space.space import NONE, SKIP

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
class Place:
    """An operation in a network. edge, operation: their indices. cell: index of the cell."""

    blueprint: Blueprint
    cell: int
    edge: int
    operation: int

    @property
    def architecture(self) -> int:
        """Index of the block of logits that decides the cell."""
        return self.blueprint.cells[self.cell].architecture

    @property
    def name(self) -> str:
        """Name of the operation."""
        return self.blueprint.operations[self.operation]

    def __str__(self) -> str:
        """Return it in words; nodes and sources are counted as in a genotype."""
        kind, (source, node) = self.blueprint.cells[self.cell].kind, self.blueprint.edges[self.edge]
        return f"cell {self.cell} ({kind}), edge from source {source} to node {node}, {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An operation that failed. epoch: of the phase, from 1. what: what it did."""

    epoch: int
    place: Place
    what: str

    def __str__(self) -> str:
        """Return one line."""
        return f"{self.place}: {self.what}"


class Replayed(Protocol[S_contra]):
    """What a replay needs of a phase."""

    def train(self, state: S_contra, slowdown: float, done: Sequence[Row]) -> Iterator[Row]:
        """Train; yield a row after each epoch."""

    def choices(self, state: S_contra) -> Choices | None:
        """Return what is still to be chosen; None if the architecture is fixed."""


def is_of_operation(error: Exception) -> bool:
    """Whether an operation raised an error that is no lack, no broken device and none of ours."""
    frames = traceback.walk_tb(error.__traceback__)
    within = any(frame.f_code is Edge.forward.__code__ for frame, _ in frames)
    return within and ending(error) is None


def disable(choices: Choices | None, failures: Iterable[Failure]) -> None:
    """Disable the operations that failed, in place."""
    with torch.no_grad():
        for logits in choices.logits if choices else ():
            for place in (one.place for one in failures):
                if place.architecture < logits.shape[0] and place.edge < logits.shape[1]:
                    logits[place.architecture, place.edge, place.operation] = -torch.inf


def find(
    phase: Replayed[S_contra], state: S_contra, slowdown: float, done: Sequence[Row]
) -> Failure | None:
    """Replay the epoch after `done` with checks; return which operation failed, or None.

    state: state after `done`; it is useless afterwards.

    Raises:
        TrainingFailedError: an operation failed that must not be disabled; the message names it.
    """
    choices = phase.choices(state)
    if choices is None or ranks.count() > 1:
        return None
    epoch, checks = len(done) + 1, _Checks()
    try:
        with checks.on():
            next(phase.train(state, slowdown, list(done)), None)
    except _FailedError as failed:
        failure = Failure(epoch=epoch, place=failed.place, what=failed.what)
    except TrainingFailedError:
        return None
    except Exception as error:
        if checks.running is None or not is_of_operation(error):
            raise
        what = (str(error).splitlines() or [""])[0][:LONGEST_REASON]
        failure = Failure(
            epoch=epoch, place=checks.running, what=f"{type(error).__name__}: {shown(what)}"
        )
    else:
        return None
    if refused := _refusal(choices, failure.place):
        raise TrainingFailedError(f"epoch {epoch}: {failure}; {refused}")
    return failure


def _refusal(choices: Choices, place: Place) -> str:
    """Return why an operation must not be disabled, and what to do; '' if it may be."""
    if place.name == SKIP:
        return f"every edge needs {SKIP}, so it is never disabled; its input may be too large"
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


class _FailedError(Exception):
    """An operation's output is not finite."""

    def __init__(self, place: Place, what: str) -> None:
        super().__init__(what)
        self.place, self.what = place, what


@dataclass(slots=True)
class _Checks:
    """Checks of all operations of the networks that run.

    places: the operations of these networks. running: the operation that began last.
    """

    places: dict[nn.Module, Place] = field(default_factory=dict)
    running: Place | None = None

    def __deepcopy__(self, _: object) -> "_Checks":
        """Return itself: a copy of a network that is checked is checked too."""
        return self

    @contextmanager
    def on(self) -> Iterator[None]:
        """Check until the end of the block."""
        hooks = ExitStack()

        def watch(network: nn.Module, _: object) -> None:
            for module, place in _places(network) if isinstance(network, Network) else ():
                if module not in self.places:
                    self.places[module] = place
                    hooks.callback(module.register_forward_pre_hook(self._before).remove)
                    hooks.callback(module.register_forward_hook(self._after).remove)

        with hooks:
            hooks.callback(register_module_forward_pre_hook(watch).remove)
            yield

    def _before(self, module: nn.Module, inputs: tuple[Tensor]) -> None:
        self.running = self.places[module]
        if not inputs[0].isfinite().all():
            raise TrainingFailedError("what reaches the operations is not finite")

    def _after(self, module: nn.Module, _: object, output: Tensor) -> None:
        if not output.isfinite().all():
            what = "NaN" if output.isnan().any() else "infinity"
            raise _FailedError(self.places[module], f"made {what} of finite inputs")


def _places(network: Network) -> Iterator[tuple[nn.Module, Place]]:
    """Yield every operation that is a module, and its place."""
    blueprint = network.blueprint
    for cell, found in enumerate(network.cells):
        edges = (module for module in found.modules() if isinstance(module, Edge))
        for edge, candidates in enumerate(edges):
            for name, module in candidates.operations.items():
                operation = blueprint.operations.index(name)
                place = Place(blueprint=blueprint, cell=cell, edge=edge, operation=operation)
                yield module, place
