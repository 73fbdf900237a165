"""Checks of every operation, in both passes: the first that fails, and what it did.

Only a replay pays for them; see `failing`. An operation fails if it turns finite numbers into NaN
or infinity, or raises an error that is no lack and no broken device.
"""

import json
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import CodeType
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from pipeline.devices.together import gather
from pipeline.harness import ranks
from pipeline.harness.errors import LONGEST_REASON, TrainingFailedError
from pipeline.harness.lacks import ending
from pipeline.harness.showing import shown
from pipeline.space.blueprint import Blueprint, from_dict
from pipeline.space.cell import Edge
from pipeline.space.network import Network

LARGEST = 1e6
"""Magnitude of an input, a gradient or a weight from which on a sound operation may overflow."""


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


def first_failure(compute: Callable[[], object]) -> tuple[Place, str] | None:
    """Compute something with checks; return the first operation that failed, and what it did.

    Several processes compute to the end, each on its own images, and agree on what failed first.

    Raises:
        Exception: what `compute` raises, if no operation did, and training has not failed.
    """
    checks = _Checks()
    try:
        with checks.on():
            compute()
    except (_KnownError, TrainingFailedError):
        pass
    except Exception as error:
        if checks.running is None or not is_of_operation(error):
            raise
        checks.first = _First(checks.turn, checks.running, _raised(error))
    texts = gather("" if checks.first is None else checks.first.to_text())
    found = [_First.from_text(text) for text in texts if text]
    first = min(found, key=lambda one: one.turn, default=None)  # the lowest rank's, if several
    return None if first is None or first.place is None else (first.place, first.what)


def is_of_operation(error: Exception) -> bool:
    """Whether an operation may have raised an error that is no lack and no broken device.

    An error of a backward pass may be that of any module, which only a replay tells. With several
    processes no replay can tell: the others may wait for a part of a sum that never comes.
    """
    within = _is_within(error, Edge.forward.__code__) or _is_of_backward(error)
    return within and ending(error) is None and ranks.count() == 1


def _raised(error: Exception) -> str:
    """Return what an operation raised, and in which pass, on one line."""
    first = (str(error).splitlines() or [""])[0][:LONGEST_REASON]
    backward = " in the backward pass" if _is_of_backward(error) else ""
    return f"{type(error).__name__}{backward}: {shown(first)}"


def _is_of_backward(error: Exception) -> bool:
    return _is_within(error, torch.autograd.backward.__code__, torch.autograd.grad.__code__)


def _is_within(error: Exception, *codes: CodeType) -> bool:
    """Whether an error came while one of these functions ran."""
    return any(frame.f_code in codes for frame, _ in traceback.walk_tb(error.__traceback__))


class _First(NamedTuple):
    """What failed first. turn: pass in which it did. place: None if it was no operation."""

    turn: int
    place: Place | None
    what: str

    def to_text(self) -> str:
        """Return it as JSON, for other processes."""
        place = None
        if self.place is not None:
            indices = {name: getattr(self.place, name) for name in ("cell", "edge", "operation")}
            place = {"blueprint": self.place.blueprint.to_dict(), **indices}
        return json.dumps([self.turn, place, self.what])

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Return what another process, or this one, has written."""
        turn, place, what = json.loads(text)
        if place:
            place = Place(**{**place, "blueprint": from_dict(place["blueprint"])})
        return cls(turn, place, what)


class _KnownError(Exception):
    """The end of a replay: it is known what failed first."""


@dataclass(slots=True)
class _Checks:
    """Checks of all operations of the networks that run, in both passes.

    places: the operations of these networks. weights: tensors whose gradients are checked. running:
    the operation whose forward or backward pass has begun and has not ended. turn: number of passes
    of operations that have begun; those of an evaluation do not count, because each process
    evaluates other images. first: what failed first. hooks: removes what checks.
    """

    places: dict[nn.Module, Place] = field(default_factory=dict)
    weights: set[Tensor] = field(default_factory=set)
    running: Place | None = None
    turn: int = 0
    first: _First | None = None
    hooks: ExitStack = field(default_factory=ExitStack)

    def __deepcopy__(self, _: object) -> "_Checks":
        """Return itself: a copy of a network that is checked is checked too."""
        return self

    @contextmanager
    def on(self) -> Iterator[None]:
        """Check until the end of the block."""
        with self.hooks:
            self.hooks.callback(register_module_forward_pre_hook(self._watch).remove)
            yield

    def _watch(self, network: nn.Module, _: object) -> None:
        for module, place in _places(network) if isinstance(network, Network) else ():
            if module not in self.places:
                self.places[module] = place
                self.hooks.callback(module.register_forward_pre_hook(self._before).remove)
                self.hooks.callback(module.register_forward_hook(self._after).remove)

    def _before(self, module: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        """Check an input; return it as a tensor whose gradient is this operation's alone."""
        place = self.running = self.places[module]
        [x] = inputs
        self.turn += torch.is_grad_enabled()
        self._require_usual(x)
        for weight in _weights(module):
            self._require_usual(weight)
            if weight.requires_grad and weight not in self.weights:
                self.weights.add(weight)
                given = partial(self._require, place, "of finite gradients")
                hook = weight.register_hook(given)  # type: ignore[no-untyped-call]
                self.hooks.callback(hook.remove)
        return _hooked(x, partial(self._ends, place))

    def _after(self, module: nn.Module, _: object, output: Tensor) -> Tensor:
        place = self.places[module]
        self._require(place, "of finite inputs", output)
        self.running = None
        return _hooked(output, partial(self._begins, place))

    def _begins(self, place: Place, gradient: Tensor) -> None:
        """Check the gradient with which the backward pass of an operation begins."""
        self.turn += 1
        self._require_usual(gradient)
        self.running = place

    def _ends(self, place: Place, gradient: Tensor) -> None:
        """Check the gradient of the input: autograd computes it last."""
        self._require(place, "of finite gradients", gradient)
        self.running = None

    def _require(self, place: Place, made_of: str, given: Tensor) -> None:
        """Blame an operation unless what it gives is finite."""
        if not given.isfinite().all():
            what = "NaN" if given.isnan().any() else "infinity"
            self._note(place, f"made {what} {made_of}")

    def _require_usual(self, x: Tensor) -> None:
        """Blame no operation if training has diverged before."""
        if not (x.abs() < LARGEST).all():  # also true for NaN
            self._note(None, "")

    def _note(self, place: Place | None, what: str) -> None:
        """Note what failed, and end the replay; other processes would wait for its end."""
        self.first = self.first or _First(self.turn, place, what)
        if ranks.count() == 1:
            raise _KnownError


def _hooked(x: Tensor, hook: Callable[[Tensor], None]) -> Tensor:
    """Return `x` as a tensor of its own, with a hook on its gradient if it will have one."""
    own = x.view_as(x)
    if own.requires_grad:
        own.register_hook(hook)  # type: ignore[no-untyped-call]
    return own


def _weights(operation: nn.Module) -> Iterator[Tensor]:
    """Yield what the layers of an operation read: parameters, or copies in their place."""
    for layer in operation.modules():
        for name, _ in layer.named_parameters(recurse=False):
            yield getattr(layer, name)


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
