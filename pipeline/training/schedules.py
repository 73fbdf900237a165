"""How the learning rate goes over the steps of a phase.

A schedule is a function of its highest and its last rate, of how much of the phase is done and of
the training losses of the epochs that are. To add one, write it here and name it in SCHEDULES.
No torch here: `check` reads params.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, pi
from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema

from pipeline.harness.section import Section

CYCLE_RISE, CYCLE_START = 0.3, 1 / 25
"""Part of a one-cycle phase in which the rate rises, and the part of its highest it begins at."""
PLATEAU_EPOCHS, PLATEAU_FALL, PLATEAU_FACTOR = 3, 0.01, 0.3
"""Epochs without a fall of the loss by this part of itself, after which the rate is multiplied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Where a phase stands.

    highest, last: learning rates. progress: part of the phase that is done, in [0, 1]. losses:
    mean training loss of each of its epochs that ended, in nats.
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
    """Fall evenly."""
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
    """Lower the rate each time the training loss has stood still for three epochs."""
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
        description="how the rate goes over the steps; one_cycle: rises, then falls; plateau: falls"
        " where the training loss stands still"
    ),
]
HighestRate = Annotated[
    float, Field(gt=0, le=10, description="of the weights, per step, at its highest")
]
LastRate = Annotated[
    float,
    Field(ge=0, le=10, description="of the weights, per step, at the end"),
]
RisingEpochs = Annotated[
    float,
    Field(ge=0, description="epochs in which the rate first rises evenly from 0"),
]


class ScheduleParams(Section):
    """The learning rate of a phase; its section is one of these."""

    schedule: ScheduleName = "cosine"
    learning_rate: HighestRate
    learning_rate_end: LastRate
    rising_epochs: RisingEpochs = 0.0

    def rate(self, *, epochs: int, done: float, losses: Sequence[float]) -> float:
        """Return the learning rate of a step.

        Args:
            epochs: of the phase.
            done: epochs that are, with the part of the present one.
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
