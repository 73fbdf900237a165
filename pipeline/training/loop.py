"""How a phase runs: watched, resumable after every epoch, and taken back where it goes wrong."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from pipeline.console.progress import describe, say, watch
from pipeline.devices.together import wait
from pipeline.harness.errors import TrainingFailedError
from pipeline.harness.records import Row
from pipeline.training.resume import Points, Snapshot
from pipeline.training.stability import Expected, health, judge

State = TypeVar("State")
SLOWDOWN = 0.5
"""Factor on the learning rates with each recovery."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase(Generic[State]):
    """How the state of a phase begins, changes, is saved and is brought back.

    epochs: state, factor on the learning rates -> a row after each epoch, when the state is whole.
    """

    begin: Callable[[], State]
    epochs: Callable[[State, float], Iterator[Row]]
    snapshot: Callable[[State], Snapshot]
    resumed: Callable[[Snapshot], State]


def run(
    phase: Phase[State],
    points: Points,
    *,
    epochs: int,
    images: int,
    expected: Expected,
    max_recoveries: int,
) -> tuple[State, list[Row]]:
    """Run a phase from its newest resume point; return its last state and the rows of all epochs.

    An epoch in which training diverges, or loses what it had learnt, does not count: the phase goes
    on after the epoch before, at half the learning rates. Where the loss oscillates it goes on from
    here at half the rates.

    images: per epoch. max_recoveries: how often rates may be halved.

    Raises:
        TrainingFailedError: they were, and it went wrong again.
    """
    recoveries = 0
    while True:
        wait()  # of several processes only the first writes points
        saved, before = points.newest()
        state = phase.resumed(saved) if saved else phase.begin()
        if before:
            made, oscillated = before[-1]["recoveries"], before[-1]["verdict"] == "oscillating"
            recoveries = max(recoveries, min(int(made) + oscillated, max_recoveries))
        rows = _judged(
            phase.epochs(state, SLOWDOWN**recoveries),
            before,
            expected,
            recoveries=recoveries,
            left=max_recoveries - recoveries,
        )
        try:
            history = watch(
                points.after_each(rows, before, partial(phase.snapshot, state)),
                before=before,
                name=points.stage,
                epochs=epochs,
                images=images,
            )
        except TrainingFailedError as error:
            if recoveries >= max_recoveries:
                raise TrainingFailedError(
                    f"{points.stage}: {error}, at {SLOWDOWN**recoveries:g} times the learning rates"
                    f" of {points.stage} too; lower them or training.gradient_clip"
                ) from None
            reason = str(error)
        else:
            if len(history) == epochs:
                return state, history
            reason = f"epoch {len(history)}: {history[-1]['verdict']}"
        recoveries += 1
        say(
            f"{points.stage}: {reason}; going on at {SLOWDOWN**recoveries:g} times the learning"
            f" rates ({recoveries} of at most {max_recoveries} times)"
        )
        del state, rows  # before the saved state is built beside them


def _judged(
    rows: Iterator[Row], before: list[Row], expected: Expected, *, recoveries: int, left: int
) -> Iterator[Row]:
    """Yield the rows with what is made of them; end early where the rates are to be halved.

    left: recoveries.

    Raises:
        TrainingFailedError: the epoch shall not count.
    """
    done = list(before)
    while True:
        try:
            row = next(rows, None)
        except TrainingFailedError as error:
            raise TrainingFailedError(f"epoch {len(done) + 1}: {error}") from None
        if row is None:
            return
        row = {**row, "recoveries": recoveries}
        done.append(row)
        verdict = judge(done, expected)
        if verdict in {"exploded", "degraded"} or (verdict == "collapsed" and left):
            raise TrainingFailedError(f"epoch {len(done)}: {verdict} ({describe(row)})")
        done[-1] = {**row, "verdict": verdict, "health": health(done, expected)}
        yield done[-1]
        if verdict == "oscillating" and left:
            return
