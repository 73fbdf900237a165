"""How a phase runs: watched, resumable after every epoch, and taken back where it goes wrong."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from pipeline.console.progress import describe, say, watch
from pipeline.devices.together import wait
from pipeline.harness.errors import TrainingFailedError
from pipeline.harness.records import Row
from pipeline.training.context import Context
from pipeline.training.resume import Points, Snapshot
from pipeline.training.stability import Expected, health, judge

State = TypeVar("State")
SLOWDOWN = 0.5
"""Factor on the learning rates with each recovery."""


class Phase(Protocol[State]):
    """A phase of training: how its state begins, changes, is saved and is brought back."""

    @property
    def context(self) -> Context:
        """What stays the same while it runs."""

    @property
    def epochs(self) -> int:
        """How many it runs."""

    @property
    def expected(self) -> Expected:
        """What its epochs are measured against."""

    def begin(self) -> State:
        """Return the state before the first epoch."""

    def train(self, state: State, slowdown: float, done: Sequence[Row]) -> Iterator[Row]:
        """Train; yield a row after each epoch, when `state` is the whole state.

        slowdown: factor on the learning rates. done: the rows of all epochs that have ended; it
        grows as rows are yielded.
        """

    def snapshot(self, state: State) -> Snapshot:
        """Return the state as tensors, which stay its own, and as what JSON holds."""

    def resumed(self, saved: Snapshot) -> State:
        """Return the state of a snapshot."""


def run(phase: Phase[State], points: Points) -> tuple[State, list[Row]]:
    """Run a phase from its newest resume point; return its last state and the rows of all epochs.

    An epoch in which training diverges, or loses what it had learnt, does not count: the phase goes
    on after the epoch before, at half the learning rates. Where the loss oscillates it goes on from
    here at half the rates. `training.max_recoveries` says how often rates may be halved.

    Raises:
        TrainingFailedError: they were, and it went wrong again.
    """
    recoveries, most = 0, phase.context.training.max_recoveries
    while True:
        wait()  # of several processes only the first writes points
        saved, before = points.newest()
        state = phase.resumed(saved) if saved else phase.begin()
        if before:
            made, oscillated = before[-1]["recoveries"], before[-1]["verdict"] == "oscillating"
            recoveries = max(recoveries, min(int(made) + oscillated, most))
        judged = _Judged(done=list(before), expected=phase.expected, recoveries=recoveries)
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
            if recoveries >= most:
                raise TrainingFailedError(
                    f"{points.stage}: {error}, at {SLOWDOWN**recoveries:g} times the learning rates"
                    f" of {points.stage} too; lower them or training.gradient_clip"
                ) from None
            reason = str(error)
        else:
            if len(history) == phase.epochs:
                return state, history
            reason = f"epoch {len(history)}: {history[-1]['verdict']}"
        recoveries += 1
        say(
            f"{points.stage}: {reason}; going on at {SLOWDOWN**recoveries:g} times the learning"
            f" rates ({recoveries} of at most {most} times)"
        )
        del state, rows  # before the saved state is built beside them


@dataclass(slots=True, kw_only=True)
class _Judged:
    """The rows of a phase with what is made of them. done: all until now."""

    done: list[Row]
    expected: Expected
    recoveries: int

    def rows(self, rows: Iterator[Row], *, left: int) -> Iterator[Row]:
        """Yield the rows; end early where the rates are to be halved. left: recoveries.

        Raises:
            TrainingFailedError: the epoch shall not count.
        """
        while True:
            number = len(self.done) + 1
            try:
                row = next(rows, None)
            except TrainingFailedError as error:
                raise TrainingFailedError(f"epoch {number}: {error}") from None
            if row is None:
                return
            row = {**row, "recoveries": self.recoveries}
            self.done.append(row)
            verdict = judge(self.done, self.expected)
            if verdict in {"exploded", "degraded"} or (verdict == "collapsed" and left):
                raise TrainingFailedError(f"epoch {number}: {verdict} ({describe(row)})")
            self.done[-1] = {**row, "verdict": verdict, "health": health(self.done, self.expected)}
            yield self.done[-1]
            if verdict == "oscillating" and left:
                return
