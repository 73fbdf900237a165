"""Schedules of the learning rate over the steps of a phase.

A schedule is a function of its highest and last rate, the finished part of the phase and the
training losses of the finished epochs. To add one, write it here and name it in SCHEDULES.
No torch here, so that `check`, which reads params, starts fast.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, pi
from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema

from pipeline.harness.section import Section

CYCLE_RISE, CYCLE_START = 0.3, 1 / 25
"""Part of a one-cycle phase in which the rate rises; first rate, as a fraction of the highest."""
PLATEAU_EPOCHS, PLATEAU_FALL, PLATEAU_FACTOR = 3, 0.01, 0.3
"""Epochs without improvement; least improvement, as a fraction of the loss; factor on the rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A moment of a phase.

    highest, last: highest and last learning rate. progress: finished part of the phase, in [0, 1].
    losses: mean training loss of each finished epoch, in nats.
    """

    highest: float
    last: float
    progress: float
    losses: Sequence[float] = ()


Schedule = Callable[[Moment], float]


def constant(moment: Moment) -> float:
    """Return the highest rate at every step."""
    return moment.highest


def linear(moment: Moment) -> float:
    """Fall linearly."""
    return moment.highest + (moment.last - moment.highest) * moment.progress


def cosine(moment: Moment) -> float:
    """Fall along half a period of a cosine (Loshchilov & Hutter 2017)."""
    return moment.last + (moment.highest - moment.last) * (1 + cos(pi * moment.progress)) / 2


def one_cycle(moment: Moment) -> float:
    """Rise to the highest rate in three tenths of the phase, then fall (Smith & Topin 2019)."""
    if moment.progress < CYCLE_RISE:
        risen = (1 - cos(pi * moment.progress / CYCLE_RISE)) / 2
        return moment.highest * (CYCLE_START + (1 - CYCLE_START) * risen)
    rest = (moment.progress - CYCLE_RISE) / (1 - CYCLE_RISE)
    return cosine(Moment(highest=moment.highest, last=moment.last, progress=rest))


def plateau(moment: Moment) -> float:
    """Lower the rate each time the training loss has not improved for three epochs."""
    rate, best, waited = moment.highest, float("inf"), 0
    for loss in moment.losses:
        if loss < best * (1 - PLATEAU_FALL):
            best, waited = loss, 0
            continue
        waited += 1
        if waited == PLATEAU_EPOCHS:
            rate, waited = max(rate * PLATEAU_FACTOR, moment.last), 0
    return rate


SCHEDULES: dict[str, Schedule] = {
    "cosine": cosine,
    "linear": linear,
    "constant": constant,
    "one_cycle": one_cycle,
    "plateau": plateau,
}


def _known(name: str) -> str:
    if name not in SCHEDULES:
        *others, last = map(repr, SCHEDULES)
        raise ValueError(f"expected {', '.join(others)} or {last}, got {name!r}")
    return name


ScheduleName = Annotated[
    str,
    AfterValidator(_known),
    WithJsonSchema({"type": "string", "enum": list(SCHEDULES)}),
    Field(
        description="course of the rate over the steps; one_cycle: rises, then falls; plateau:"
        " falls when the training loss stops falling"
    ),
]
HighestRate = Annotated[
    float, Field(gt=0, le=10, description="highest learning rate of the weights")
]
LastRate = Annotated[
    float,
    Field(ge=0, le=10, description="learning rate of the weights at the end"),
]
RisingEpochs = Annotated[
    float,
    Field(ge=0, description="epochs at the start in which the rate rises linearly from 0"),
]


class ScheduleParams(Section):
    """The learning rate of a phase, as a part of the phase's section."""

    schedule: ScheduleName = "cosine"
    learning_rate: HighestRate
    learning_rate_end: LastRate
    rising_epochs: RisingEpochs = 0.0

    def rate(self, *, epochs: int, done: float, losses: Sequence[float]) -> float:
        """Return the learning rate of a step.

        Args:
            epochs: number of epochs of the phase.
            done: finished epochs, with the finished part of the current one.
            losses: see Moment.
        """
        progress, rising = done / epochs, min(1.0, self.rising_epochs / epochs)
        if progress < rising:  # Goyal et al. 2017
            return self.learning_rate * progress / rising
        rest = (progress - rising) / (1 - rising) if rising < 1 else 1.0
        moment = Moment(
            highest=self.learning_rate, last=self.learning_rate_end, progress=rest, losses=losses
        )
        return SCHEDULES[self.schedule](moment)
