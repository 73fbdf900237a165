"""What a sweep tries next: every point of a grid, or what Optuna proposes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Literal, Protocol, Self

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState
from pydantic import BaseModel, ConfigDict, model_validator

from pipeline.harness.errors import ParamsError, RunError

Direction = Literal["maximize", "minimize"]
UNPRUNED_TRIALS = 3
"""Trials that run to their end before any is compared with them."""


class Range(BaseModel):
    """Numbers from low to high, both included; whole ones if both are; evenly by their log."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low: {self.low} is not below high: {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low: {self.low} has no logarithm")
        return self


Space = Mapping[str, list[Any] | Range]
"""Key of a param -> its values, or the range of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A point of the space. number: counts the points of a sweep from 0."""

    number: int
    overrides: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A point that was tried. value: the objective, None if it was not reached."""

    point: Point
    state: str
    value: float | None = None


class Proposals(Protocol):
    """Points to try; not shared by threads."""

    def ask(self) -> Point | None:
        """Return the next point, None if there are no more."""

    def tell(self, tried: Tried) -> None:
        """Learn how a point did."""

    def is_hopeless(self, point: Point, epoch: int, value: float) -> bool:
        """Whether a point whose objective stands at `value` after an epoch should be given up."""

    def tried(self) -> Sequence[Tried]:
        """Return all that was tried, in earlier runs of the same sweep too."""


@dataclass(slots=True)
class Grid:
    """Every combination of the values."""

    points: list[Point]
    done: list[Tried] = field(default_factory=list)
    next: int = 0

    def ask(self) -> Point | None:
        """Return the next point, the last key varying fastest."""
        if self.next == len(self.points):
            return None
        self.next += 1
        return self.points[self.next - 1]

    def tell(self, tried: Tried) -> None:
        """Keep how a point did."""
        self.done.append(tried)

    def is_hopeless(self, point: Point, epoch: int, value: float) -> bool:  # noqa: ARG002
        """Return False: a grid is run as a whole."""
        return False

    def tried(self) -> Sequence[Tried]:
        """Return what this run tried."""
        return self.done


def grid(space: Space) -> Grid:
    """Return a grid; raise ParamsError if it has a range, of which there is no end of values."""
    values: list[list[Any]] = []
    for key, choice in space.items():
        if isinstance(choice, Range):
            raise ParamsError(f"{key}: a range needs a number of trials (--trials N)")
        values.append(choice)
    combinations = [dict(zip(space, combination, strict=True)) for combination in product(*values)]
    return Grid([Point(number=n, overrides=point) for n, point in enumerate(combinations)])


class Study:
    """An Optuna study, kept in a file: a sweep of the same name goes on with it."""

    def __init__(
        self,
        file: Path,
        name: str,
        *,
        space: Space,
        direction: Direction,
        trials: int,
        seed: int,
        first_epoch: int,
        facts: Mapping[str, Any],
    ) -> None:
        """Begin or go on with a study.

        Args:
            file: SQLite; made if it is not there.
            name: of the study.
            space: where to look.
            direction: whether more of the objective is better.
            trials: how many there shall be in the end, those of earlier runs included.
            seed: of the sampler.
            first_epoch: before which no trial is given up.
            facts: what the values depend on; a study with others is not gone on with.

        Raises:
            RunError: a study of that name has other facts.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        file.parent.mkdir(parents=True, exist_ok=True)
        self._study = optuna.create_study(
            storage=f"sqlite:///{file}",
            study_name=name,
            direction=direction,
            sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True),
            pruner=optuna.pruners.MedianPruner(
                n_startup_trials=UNPRUNED_TRIALS, n_warmup_steps=first_epoch
            ),
            load_if_exists=True,
        )
        known = self._study.user_attrs
        if known and known != facts:
            differ = [key for key in facts if known.get(key) != facts[key]]
            raise RunError(
                f"{file}: the study '{name}' is of another {', '.join(differ)}; name this one anew"
            )
        for key, value in facts.items():
            self._study.set_user_attr(key, value)
        self._space = space
        self._trials = trials
        self._running: dict[int, Trial] = {}
        for lost in self._study.get_trials(states=(TrialState.RUNNING,)):  # its run was killed
            self._study.tell(lost.number, state=TrialState.FAIL)
            self._study.enqueue_trial(lost.params)

    def ask(self) -> Point | None:
        """Return what Optuna proposes."""
        counted = (TrialState.COMPLETE, TrialState.PRUNED)
        if len(self._study.get_trials(states=counted)) + len(self._running) >= self._trials:
            return None
        trial = self._study.ask()
        overrides = {key: _suggest(trial, key, choice) for key, choice in self._space.items()}
        self._running[trial.number] = trial
        return Point(number=trial.number, overrides=overrides)

    def tell(self, tried: Tried) -> None:
        """Tell Optuna how a point did."""
        del self._running[tried.point.number]
        if tried.state == "Pruned":
            self._study.tell(tried.point.number, state=TrialState.PRUNED)
        elif tried.value is None:
            self._study.tell(tried.point.number, state=TrialState.FAIL)
            self._trials -= 1  # or a point that always fails would be followed by others for ever
        else:
            self._study.tell(tried.point.number, tried.value)

    def is_hopeless(self, point: Point, epoch: int, value: float) -> bool:
        """Return whether others were better at this epoch (Optuna's median pruner)."""
        trial = self._running[point.number]
        trial.report(value, epoch)
        return trial.should_prune()

    def tried(self) -> Sequence[Tried]:
        """Return every finished trial of the study."""
        return [_tried(trial) for trial in self._study.trials if trial.state.is_finished()]


def _suggest(trial: Trial, key: str, choice: list[Any] | Range) -> Any:
    if isinstance(choice, list):
        return trial.suggest_categorical(key, choice)
    if isinstance(choice.low, int) and isinstance(choice.high, int):
        return trial.suggest_int(key, choice.low, choice.high, log=choice.log)
    return trial.suggest_float(key, choice.low, choice.high, log=choice.log)


def _tried(trial: FrozenTrial) -> Tried:
    states = {TrialState.COMPLETE: "Completed", TrialState.PRUNED: "Pruned"}
    return Tried(
        point=Point(number=trial.number, overrides=trial.params),
        state=states.get(trial.state, "Failed"),
        value=trial.value if trial.state == TrialState.COMPLETE else None,
    )
