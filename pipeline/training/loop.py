"""The loop of a phase: it is watched, resumable after every epoch, and recovers from failures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from traceback import clear_frames
from typing import Protocol, TypeVar

from pipeline.console.progress import describe, say, watch
from pipeline.devices.together import wait
from pipeline.harness.errors import TrainingFailedError
from pipeline.harness.records import Row
from pipeline.training.checks import is_of_operation
from pipeline.training.context import Context
from pipeline.training.failing import Choices, Failure, disable, find
from pipeline.training.fitting import Counted, fitting, unfit
from pipeline.training.resume import Points, Snapshot
from pipeline.training.stability import Expected, health, judge, out_of_patience

State = TypeVar("State", bound=Counted)
SLOWDOWN = 0.5
"""Factor on the learning rates for each recovery."""


class Phase(Protocol[State]):
    """A phase of training: how its state is created, trained, saved and restored."""

    @property
    def context(self) -> Context:
        """Data and settings that stay the same while it runs."""

    @property
    def epochs(self) -> int:
        """Number of epochs that it runs."""

    @property
    def expected(self) -> Expected:
        """What its epochs are judged against."""

    def begin(self) -> State:
        """Return the state before the first epoch."""

    def train(self, state: State, slowdown: float, done: Sequence[Row]) -> Iterator[Row]:
        """Train; yield a row after each epoch, when `state` is complete.

        slowdown: factor on the learning rates. done: rows of all finished epochs; it grows as rows
        are yielded.
        """

    def choices(self, state: State) -> Choices | None:
        """Return what is still to be chosen; None if the architecture is fixed."""

    def snapshot(self, state: State) -> Snapshot:
        """Return the state as JSON values and tensors, which are not copied."""

    def resumed(self, saved: Snapshot) -> State:
        """Return the state of a snapshot."""


def run(phase: Phase[State], points: Points) -> tuple[State, list[Row]]:
    """Run a phase from its newest resume point; return its last state and the rows of all epochs.

    If training diverges or loses what it had learnt, the epoch is repeated at half the learning
    rates; if an operation is to blame (see `failing`), it is disabled instead. If the loss
    oscillates, the phase continues at half the rates. `training.max_recoveries` limits how often
    the rates are halved. A phase with patience may end early.

    Raises:
        TrainingFailedError: training failed again after the last recovery, or an operation failed
            that must not be disabled.
        CheckpointError: a resume point of this run does not hold what the phase saves.
    """
    recoveries, most = 0, phase.context.training.max_recoveries
    failures: list[Failure] = []
    while True:
        wait()  # only the first process writes points
        state, before = _begun(phase, points, failures, recoveries)
        if before:
            made, oscillated = before[-1]["recoveries"], before[-1]["verdict"] == "oscillating"
            recoveries = max(recoveries, min(int(made) + oscillated, most))
        judged = _Judged(
            done=list(before),
            expected=phase.expected,
            recoveries=recoveries,
            failures=failures,
        )
        rows = judged.rows(
            phase.train(state, SLOWDOWN**recoveries, judged.done), left=most - recoveries
        )
        try:
            history = watch(
                points.after_each(rows, before, partial(phase.snapshot, state)),
                before=before,
                name=points.stage,
                epochs=phase.epochs,
                images=len(phase.context.images),
            )
        except TrainingFailedError as error:
            reason = str(error)
        else:
            if _has_ended(phase, points.stage, history):
                return state, history
            reason = f"epoch {len(history)}: {history[-1]['verdict']}"
            if recoveries >= most or history[-1]["verdict"] != "oscillating":
                raise unfit(points, f"{len(history)} of {phase.epochs} epochs, and no more to do")
        del state, rows  # frees their memory before the saved state is built
        broken = judged.broken
        if broken and (failure := _blame(phase, points, failures, recoveries, broken)):
            failures.append(failure)
            continue
        if recoveries >= most:
            raise TrainingFailedError(
                f"{points.stage}: {reason}, at {SLOWDOWN**recoveries:g} times the learning rates"
                f" of {points.stage} too; lower them or training.gradient_clip"
            )
        recoveries += 1
        say(
            f"{points.stage}: {reason}; going on at {SLOWDOWN**recoveries:g} times the learning"
            f" rates ({recoveries} of at most {most} times)"
        )


def _has_ended(phase: Phase[State], name: str, history: Sequence[Row]) -> bool:
    """Whether no epoch is left to do; say so if there were more."""
    if len(history) < phase.epochs and out_of_patience(history, phase.expected):
        say(
            f"{name}: ends after {len(history)} of {phase.epochs} epochs:"
            f" {phase.expected.patience} without a better accuracy"
        )
        return True
    return len(history) == phase.epochs


def _begun(
    phase: Phase[State], points: Points, failures: Sequence[Failure], recoveries: int
) -> tuple[State, list[Row]]:
    """Return what `_newest` does; if an operation fails even there, the error names it."""
    try:
        return _newest(phase, points, failures)
    except Exception as error:
        if is_of_operation(error):
            _blame(phase, points, failures, recoveries, error)
        raise


def _newest(
    phase: Phase[State], points: Points, failures: Sequence[Failure]
) -> tuple[State, list[Row]]:
    """Return the state of the newest resume point and the rows up to it.

    failures: operations that are disabled in it, if they are not already.
    """
    saved, before = points.newest()
    state = phase.begin() if saved is None else fitting(phase.resumed, saved, before, points)
    disable(phase.choices(state), failures)
    return state, before


def _blame(
    phase: Phase[State],
    points: Points,
    failures: Sequence[Failure],
    recoveries: int,
    broken: Exception,
) -> Failure | None:
    """Return the operation because of which an epoch broke off, and say so; None if there is none.

    failures: operations that are disabled. broken: why the epoch broke off.

    Raises:
        OperationFailedError: it must not be disabled.
        Exception: an operation raised it, but does not when the epoch is replayed.
        RuntimeError: an operation runs that is disabled, which is a bug.
    """
    newest = partial(_newest, phase, points, failures)
    failure = find(phase, newest, SLOWDOWN**recoveries, name=points.stage)
    if failure and failure.place in [one.place for one in failures]:
        raise RuntimeError(f"{failure.place}: runs though it is disabled")  # or this would go on
    if failure:
        say(f"{points.stage}: epoch {failure.epoch}: {failure}; going on without it on this edge")
    elif not isinstance(broken, TrainingFailedError):
        raise broken
    return failure


@dataclass(slots=True, kw_only=True)
class _Judged:
    """The rows of a phase with their verdicts.

    done: rows so far. failures: operations that were disabled. broken: why an epoch broke off: a
    number that is not finite, or the error of an operation.
    """

    done: list[Row]
    expected: Expected
    recoveries: int
    failures: Sequence[Failure]
    broken: Exception | None = None

    def rows(self, rows: Iterator[Row], *, left: int) -> Iterator[Row]:
        """Yield the rows; end early if the rates must be halved. left: recoveries left.

        Raises:
            TrainingFailedError: the epoch must be repeated.
        """
        while not out_of_patience(self.done, self.expected):
            number = len(self.done) + 1
            try:
                row = next(rows, None)
            except Exception as error:
                if not isinstance(error, TrainingFailedError) and not is_of_operation(error):
                    raise
                clear_frames(error.__traceback__)  # they hold the memory of the epoch
                self.broken = error
                raise TrainingFailedError(f"epoch {number}: {error}") from None
            if row is None:
                return
            row = {**row, **self._disabled(number), "recoveries": self.recoveries}
            self.done.append(row)
            verdict = judge(self.done, self.expected)
            if verdict in {"exploded", "degraded"} or (verdict == "collapsed" and left):
                raise TrainingFailedError(f"epoch {number}: {verdict} ({describe(row)})")
            self.done[-1] = {**row, "verdict": verdict, "health": health(self.done, self.expected)}
            yield self.done[-1]
            if verdict == "oscillating" and left:
                return

    def _disabled(self, number: int) -> Row:
        """Return the column that names what was disabled in an epoch, if anything was."""
        named = "; ".join(str(one) for one in self.failures if one.epoch == number)
        return {"disabled": named} if named else {}
