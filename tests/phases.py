"""The phases of the pipeline on a few images of noise, and a scripted phase."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.alternating.alternation import Alternation
from pipeline.alternating.params import SearchParams
from pipeline.alternating.state import SearchState
from pipeline.batches.params import AugmentationParams
from pipeline.batches.randomness import generator
from pipeline.growing.grow import Growth
from pipeline.growing.params import GrowthParams
from pipeline.harness.records import Row
from pipeline.optimizing.optimize import Optimize, Watch, discrete_network
from pipeline.optimizing.params import OptimizeParams
from pipeline.searching.entering import entrants
from pipeline.searching.finals import Finals
from pipeline.searching.search import Search
from pipeline.space.network import Network
from pipeline.space.params import NetworkParams
from pipeline.supernet.supernet import SupernetContext
from pipeline.targeting.budget import Budget
from pipeline.targeting.params import TargetParams
from pipeline.training.loop import Phase
from pipeline.training.stability import Expected
from pipeline.warming.params import WarmupParams
from pipeline.warming.warm import Warmup
from tests.conftest import context, random_images, tiny

PLAIN = AugmentationParams(crop_padding=0, flip=False, cutout=0)
"""No augmentation."""
FREE = TargetParams()
"""Any cost."""
TAUGHT = torch.rand(24, 3, generator=generator(0, "taught")).softmax(1)
"""Soft targets of the images."""
TIGHT, ROOMY = TargetParams(parameters=2_000), TargetParams(parameters=9_000)
"""Fewer parameters than the most likely tiny network has, and room for it to grow."""


def warming(
    given: SupernetContext | None = None, *, network: NetworkParams | None = None, **changes: object
) -> Warmup:
    return Warmup(
        context=given or context(),
        network=network or tiny(NetworkParams),
        params=tiny(WarmupParams, **changes),
    )


def searching(
    checkpoint: Path,
    given: SupernetContext | None = None,
    *,
    target: TargetParams = FREE,
    **changes: object,
) -> Search:
    return Search(
        context=given or context(),
        params=tiny(SearchParams, **changes),
        checkpoint=checkpoint,
        budget=Budget(target=target, image_size=(8, 8)),
        expected=Expected(classes=3),
    )


def finals(checkpoint: Path, given: SupernetContext | None = None, **changes: object) -> Finals:
    """The finals of a search that has not begun."""
    phase = searching(checkpoint, given, **changes)
    state = phase.begin()
    return Finals(
        context=phase.context,
        params=phase.params,
        searched=state,
        entrants=entrants(phase.context, phase.params, state, phase.budget),
    )


def growing(
    checkpoint: Path,
    given: SupernetContext | None = None,
    *,
    network: NetworkParams | None = None,
    search: SearchParams | None = None,
    target: TargetParams = FREE,
    **changes: object,
) -> Growth:
    return Growth(
        context=given or context(),
        network=network or tiny(NetworkParams),
        search=search or tiny(SearchParams),
        params=tiny(GrowthParams, **changes),
        checkpoint=checkpoint,
        budget=Budget(target=target, image_size=(8, 8)),
        expected=Expected(classes=3),
    )


def optimizing(
    checkpoint: Path,
    given: SupernetContext | None = None,
    *,
    network: NetworkParams | None = None,
    taught: Tensor | None = None,
    **changes: object,
) -> Optimize[Network]:
    given, params = given or context(), tiny(OptimizeParams, **changes)
    return Optimize(
        context=given,
        params=params,
        fresh=partial(
            discrete_network,
            checkpoint,
            given,
            network or tiny(NetworkParams),
            given.training,
            from_scratch=params.from_scratch,
        ),
        watch=Watch(images=given.validation, batch_size=16),
        taught=taught,
    )


def train(phase: Phase[Any], state: Any, *, most: int = 99, done: Sequence[Row] = ()) -> list[Row]:
    """Run at most `most` epochs after those in `done`; return their rows."""
    rows = list(done)
    for row in islice(phase.train(state, 1.0, rows), most):
        rows.append(row)  # noqa: PERF402 - the phase reads them as they come
    return rows[len(done) :]


def architecture_step(phase: Search, state: SearchState, *, left: float = 0.0) -> None:
    """Make one architecture step of a search on eight images."""
    images = random_images(8)
    Alternation(context=phase.context, params=phase.params).architecture_step(
        state,
        (images.pixels.float() / 255, images.labels),
        generator(0, "architecture"),
        left=left,
    )


class Epochs(dict[str, int]):
    """The state of a scripted phase: {"epoch": number}."""

    @property
    def epoch(self) -> int:
        return self["epoch"]


@dataclass(frozen=True, kw_only=True)
class Told:
    """A scripted phase: a function of (epoch, slowdown) gives its rows or raises an error."""

    does: Callable[[int, float], Row]
    epochs: int = 4
    context: SupernetContext = field(default_factory=context)
    expected: Expected = field(default_factory=partial(Expected, classes=10))

    def begin(self) -> Epochs:
        return Epochs(epoch=0)

    def train(self, state: Epochs, slowdown: float, _: Sequence[Row]) -> Any:
        while state["epoch"] < self.epochs:
            row = self.does(state["epoch"] + 1, slowdown)
            state["epoch"] += 1
            yield {"epoch": state["epoch"], "slowdown": slowdown, **row}

    def choices(self, _: Epochs) -> None:
        """Nothing."""

    def snapshot(self, state: Epochs) -> dict[str, int]:
        return dict(state)

    def resumed(self, saved: dict[str, int]) -> Epochs:
        return Epochs(saved)


PHASES: dict[str, Callable[[Path], Phase[Any]]] = {
    "warmup": lambda _: warming(epochs=3),
    "search": lambda path: searching(path, epochs=3),
    "search of mixtures": lambda path: searching(path, epochs=3, sampling="soft"),
    "search along the likely path": lambda path: searching(path, epochs=3, sampling="likely"),
    "search that stops operations": lambda path: searching(
        path, epochs=3, arch_update_freq=2, stop_operations=1.0
    ),
    "search with a target": lambda path: searching(
        path, epochs=3, target=TIGHT, arch_learning_rate=2.0
    ),
    "finals": lambda path: finals(path, finalists=3, finalist_epochs=2),
    "growth that is accepted": growing,
    "growth that is rolled back": lambda path: growing(path, tolerance=0.0, settle=2),
    "growth of all kinds": lambda path: growing(
        path, epochs=9, kinds=("node", "mutate", "deepen", "widen"), explore=0.5, target=ROOMY
    ),
    "optimize": lambda path: optimizing(path, epochs=3),
    "optimize with patience": lambda path: optimizing(path, epochs=9, patience=2, ema_decay=0.5),
    "optimize with a teacher": lambda path: optimizing(path, taught=TAUGHT),
    "optimize with everything": lambda path: optimizing(
        path,
        taught=TAUGHT,
        epochs=3,
        ema_decay=0.9,
        auxiliary_weight=0.4,
        drop_path=0.2,
        balance=0.5,
        mixup=0.2,
        cutmix=1.0,
    ),
}
"""Description -> function from the checkpoint of a supernet to a phase."""
