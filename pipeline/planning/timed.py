"""Short epochs of a phase, with the seconds of each step and of the evaluation.

The phase's own code makes every step; only its context differs from that of a real run. The first
epoch does not count. The others evaluate on few and on more validation images.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from itertools import islice, pairwise
from math import inf
from statistics import median
from time import perf_counter
from typing import Any, TypeVar

import torch

from pipeline.supernet.supernet import SupernetContext
from pipeline.training.context import Epoch, Step
from pipeline.training.fitting import Counted
from pipeline.training.loop import Phase

State = TypeVar("State", bound=Counted)
EPOCHS = 3
"""Number of short epochs."""
STILL = 0.0
"""Factor on all learning rates: nothing learns, so nothing diverges and no path gets likelier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """How much of a phase is measured.

    start_steps, steps: largest number of weight steps of the epoch that does not count, and of each
    other epoch. few_batches, batches: largest number of evaluation batches, of the first two epochs
    and of the last. undisturbed: whether timings that other work slowed are left out.
    """

    start_steps: int
    steps: int
    few_batches: int
    batches: int
    undisturbed: bool = False

    def typical(self, seconds: Sequence[float]) -> float:
        """Return the median of the timings, without those of more than twice the least if asked.

        With 2 threads on 2 cores that 5 other processes used, steps of 20 ms took up to 10 s.
        """
        most = 2 * min(seconds) if self.undisturbed else inf
        return median(one for one in seconds if one <= most)

    def evaluation(self, timed: Sequence[tuple[float, int]], everything: int) -> float:
        """Return the seconds of an evaluation on all images.

        timed: seconds and number of images of a first evaluation, one on as many images and one on
        more of them. everything: number of all images.
        """
        (_, few), (first, _), (seconds, more) = timed
        if everything > more:  # some seconds are the same for any number of images
            slope = max(0.0, seconds - first) / (more - few)
            seconds += slope * (everything - more)
        if self.undisturbed:  # an image takes no longer among more of them
            return min(seconds, *(one * max(1.0, everything / images) for one, images in timed))
        return seconds


THOROUGH = Sample(start_steps=3, steps=12, few_batches=1, batches=6)
"""For a plan, which decides on epochs."""
QUICK = Sample(start_steps=1, steps=3, few_batches=1, batches=2, undisturbed=True)
"""For a forecast, which must cost little."""


@dataclass(frozen=True, kw_only=True)
class TimedContext(SupernetContext):
    """A context whose epochs have at most `most_steps` weight steps, with a mark after each.

    marks: moments in seconds: before the first step, then after each step.
    """

    most_steps: int
    marks: list[float] = field(default_factory=list)

    def steps(self, epoch: Epoch) -> Iterator[Step]:
        """Yield the first weight steps of an epoch; mark the time before them and after each."""
        self.mark()
        for step in islice(super().steps(epoch), self.most_steps):
            yield step
            self.mark()

    def mark(self) -> None:
        """Note the time when the device has done all its work."""
        if self.images.device.type != "cpu":
            torch.accelerator.synchronize(self.images.device)
        self.marks.append(perf_counter())


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds of the steps that count, and of an evaluation on all validation images.

    uncounted: number of steps made before.
    """

    uncounted: int
    steps: tuple[float, ...]
    evaluation: float


def time_phase(
    phase_of: Callable[[TimedContext], Phase[Any]], context: SupernetContext, sample: Sample
) -> Timing:
    """Run the short epochs of a phase. phase_of: function that returns it with a context."""
    batch = context.training.evaluation_batch_size
    few, more, everything = (
        sample.few_batches * batch,
        sample.batches * batch,
        len(context.validation),
    )
    contexts = [
        _shortened(context, most_steps=steps, most_images=images)
        for steps, images in ((sample.start_steps, few), (sample.steps, few), (sample.steps, more))
    ]
    state = phase_of(contexts[0]).begin()
    start, first, second = (_run(phase_of(one), state, one) for one in contexts)
    timed = ((start[-1], few), (first[-1], few), (second[-1], more))
    return Timing(
        uncounted=len(start) - 1,
        steps=(*first[:-1], *second[:-1]),
        evaluation=sample.evaluation(timed, everything),
    )


def _shortened(context: SupernetContext, *, most_steps: int, most_images: int) -> TimedContext:
    """Return a context with short epochs and few validation images."""
    same: dict[str, Any] = {one.name: getattr(context, one.name) for one in fields(context)}
    same["validation"] = context.validation.part(slice(most_images))
    return TimedContext(**same, most_steps=most_steps)


def _run(phase: Phase[State], state: State, context: TimedContext) -> list[float]:
    """Run the next epoch of a phase; return the seconds of each step, then of the evaluation."""
    next(phase.train(state, STILL, ()))
    context.mark()
    return [after - before for before, after in pairwise(context.marks)]
