"""The points that a sweep tries: every point of a grid, or those that Optuna proposes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Literal, Self

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState
from pydantic import BaseModel, ConfigDict, model_validator

from pipeline.harness.errors import ParamsError, RunError
from pipeline.harness.files import make_folder

Direction = Literal["maximize", "minimize"]
UNPRUNED_TRIALS = 3
"""Number of trials that run to their end before any trial is pruned."""


class Range(BaseModel):
    """Numbers from low to high, both included; integers if both are; log: spread by logarithm."""

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
"""Key of a param -> list or range of its values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A point of the space. number: index of the point in its sweep, from 0."""

    number: int
    overrides: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A point that was tried. value: its objective, or None if it was not reached.

    costs: those of its network, by name. place: machine and clone where it ran; '' if unknown.
    """

    point: Point
    state: str
    value: float | None = None
    costs: Mapping[str, float] = field(default_factory=dict)
    place: str = ""


class Study:
    """An Optuna study of a space: proposes points and learns their values; not thread-safe."""

    def __init__(self, study: optuna.Study, space: Space, *, trials: int) -> None:
        """Propose points until `trials` are completed or pruned, including earlier runs."""
        self._study = study
        self._space = space
        self._trials = trials
        self._running: dict[int, Trial] = {}
        self._newest: dict[int, int] = {}

    def ask(self) -> Point | None:
        """Return the next point, or None if there are no more."""
        counted = (TrialState.COMPLETE, TrialState.PRUNED)
        done = len(self._study.get_trials(deepcopy=False, states=counted))
        if done + len(self._running) >= self._trials:
            return None
        trial = self._study.ask()
        for key, choice in self._space.items():
            _suggest(trial, key, choice)
        self._running[trial.number] = trial
        return Point(number=trial.number, overrides=self._overrides(trial.params))

    def tell(self, tried: Tried) -> None:
        """Record the result of a point."""
        trial = self._running.pop(tried.point.number)
        trial.set_user_attr("costs", dict(tried.costs))
        trial.set_user_attr("place", tried.place)
        if tried.state == "Pruned":
            self._study.tell(tried.point.number, state=TrialState.PRUNED)
        elif tried.value is None:
            self._study.tell(tried.point.number, state=TrialState.FAIL)
            self._trials -= 1  # else points that always fail would be proposed for ever
        else:
            self._study.tell(tried.point.number, tried.value)

    def is_hopeless(self, point: Point, epoch: int, value: float) -> bool:
        """Return whether to give up a point whose objective is `value` after an epoch.

        An epoch counts once: a trial that begins anew repeats some.
        """
        if epoch <= self._newest.get(point.number, 0):
            return False
        self._newest[point.number] = epoch
        trial = self._running[point.number]
        trial.report(value, epoch)
        return trial.should_prune()

    def tried(self) -> Sequence[Tried]:
        """Return all points that were tried, including earlier runs of the same sweep."""
        return [self._tried(trial) for trial in self._study.trials if trial.state.is_finished()]

    def _tried(self, trial: FrozenTrial) -> Tried:
        states = {TrialState.COMPLETE: "Completed", TrialState.PRUNED: "Pruned"}
        return Tried(
            point=Point(number=trial.number, overrides=self._overrides(trial.params)),
            state=states.get(trial.state, "Failed"),
            value=trial.value if trial.state == TrialState.COMPLETE else None,
            costs=trial.user_attrs.get("costs", {}),
            place=trial.user_attrs.get("place", ""),
        )

    def _overrides(self, suggested: Mapping[str, Any]) -> dict[str, Any]:
        return {key: _value(self._space[key], one) for key, one in suggested.items()}


def grid(space: Space) -> Study:
    """Return a study of every combination, the last key varying fastest; it is not stored.

    Optuna's own grid shuffles the combinations and accepts no lists as values.

    Raises:
        ParamsError: the space has a range, whose values are endless.
    """
    labels = []
    for key, choice in space.items():
        if isinstance(choice, Range):
            raise ParamsError(f"{key}: a range needs a number of trials (--trials N)")
        labels.append(_labels(choice))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(pruner=optuna.pruners.NopPruner())
    combinations = list(product(*labels))
    for combination in combinations:
        study.enqueue_trial(dict(zip(space, combination, strict=True)))
    return Study(study, space, trials=len(combinations))


def tpe(
    file: Path,
    name: str,
    *,
    space: Space,
    direction: Direction,
    trials: int,
    seed: int,
    first_epoch: int,
    facts: Mapping[str, Any],
) -> Study:
    """Begin or continue a study, stored in a file, that proposes points by earlier results.

    Args:
        file: SQLite file; created if missing.
        name: name of the study.
        space: space of the points.
        direction: whether a larger or a smaller objective is better.
        trials: total number of trials, including earlier runs.
        seed: seed of the sampler.
        first_epoch: first epoch after which a trial may be given up.
        facts: what the values depend on; a study with other facts is not continued.

    Raises:
        RunError: a study of that name has other facts.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    make_folder(file.parent)
    study = optuna.create_study(
        storage=f"sqlite:///{file}",
        study_name=name,
        direction=direction,
        sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True),
        pruner=optuna.pruners.MedianPruner(
            n_startup_trials=UNPRUNED_TRIALS, n_warmup_steps=first_epoch
        ),
        load_if_exists=True,
    )
    _require(study, facts, file)
    for lost in study.get_trials(states=(TrialState.RUNNING,)):  # its run was killed
        study.tell(lost.number, state=TrialState.FAIL)
        study.enqueue_trial(lost.params)
    return Study(study, space, trials=trials)


def _require(study: optuna.Study, facts: Mapping[str, Any], file: Path) -> None:
    """Store the facts of a new study; raise RunError if an earlier study has others."""
    known = study.user_attrs
    differ = ", ".join(key for key in facts if known.get(key) != facts[key])
    if known and differ:
        raise RunError(
            f"{file}: the study '{study.study_name}' has another {differ}; choose another name"
        )
    for key, value in facts.items():
        study.set_user_attr(key, value)


def _suggest(trial: Trial, key: str, choice: list[Any] | Range) -> None:
    if isinstance(choice, list):
        trial.suggest_categorical(key, _labels(choice))
    elif isinstance(choice.low, int) and isinstance(choice.high, int):
        trial.suggest_int(key, choice.low, choice.high, log=choice.log)
    else:
        trial.suggest_float(key, choice.low, choice.high, log=choice.log)


def _labels(choice: list[Any]) -> list[str]:
    """Return a name for each value: Optuna keeps no lists, and true is 1 to it."""
    return [repr(value) for value in choice]


def _value(choice: list[Any] | Range, suggested: Any) -> Any:
    return choice[_labels(choice).index(suggested)] if isinstance(choice, list) else suggested
