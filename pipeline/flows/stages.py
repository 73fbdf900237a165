"""One Prefect task per stage, in the order in which DVC reaches them.

A task does not start its stage: one `dvc repro` runs all stages, and each task follows the output
of its stage. One process per stage would cost three times as much.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.states import Cancelled, Completed, Failed
from prefect.tasks import Task, exponential_backoff

from pipeline.flows.progress import Progress
from pipeline.harness.errors import ExitCode
from pipeline.running.repro import Line, OverTimeError, Repro, StoppedError

RETRIES = 3
STATES = {"ran": "Completed", "cached": "Cached", "restored": "Restored"}
STOPPED = "Cancelled"
GIVEN_UP = "Pruned"

OnEpoch = Callable[[str, Mapping[str, str]], bool]
"""Function of a stage and the newest row of its history: whether to give the run up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a stage ended. state: its state in Prefect. message: its error line, or ''."""

    stage: str
    state: str
    seconds: float
    message: str = ""

    @property
    def failed(self) -> bool:
        """Whether the run ended here."""
        return self.state not in STATES.values()


SWAPPED_SECONDS = 0.1
"""Time in which a line of stdout may come after one of stderr that was written later."""


def may_pass(_: Task[..., Any], __: TaskRun, state: State[Any]) -> bool:
    """Whether the failure is temporary and worth a retry: others hold memory or disk."""
    return state.name == "Busy"


@task(
    tags=["stage"],  # one for all: Prefect asks the server about limits once per set of tags
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=exponential_backoff(30),
    retry_jitter_factor=0.5,
    retry_condition_fn=may_pass,
)
def follow(repro: Repro, name: str, hours: float | None, progress: Progress) -> State[None]:
    """Follow one stage to its end and return how it ended."""
    if repro.ended:
        _start_again(repro, name)
    fate = repro.stage.fate if repro.stage else "ran"
    repro.deadline = time.monotonic() + hours * 3600 if hours else float("inf")
    errors: list[Line] = []
    swapped: list[Line] = []
    try:
        for line in repro.lines():
            log(line)
            if progress.look(name):
                repro.end()
                return Cancelled(name=GIVEN_UP, message=f"{name}: other trials were better")
            if line.level == logging.INFO:
                swapped = [one for one in errors[-1:] if line.moment - one.moment < SWAPPED_SECONDS]
                errors = []
            elif _is_reason(line):
                errors.append(line)
    except OverTimeError:
        repro.end()
        return Failed(
            name="TimedOut",
            message=f"{name}: took longer than {hours:g} h; the next run resumes it",
        )
    except StoppedError as error:
        repro.end()
        return Cancelled(message=f"{name}: {error}")
    except BaseException:  # cancelled: end the children first, tell the server afterwards
        repro.end()
        raise
    if repro.stage is None and not repro.succeeded:
        busy = repro.exit_code == ExitCode.EXHAUSTED
        found = [one.text for one in errors or swapped]
        return Failed(name="Busy" if busy else None, message=_reason(found, name, repro))
    return Completed(name=STATES[fate], message=f"{name}: {fate}")


def follow_all(repro: Repro, *, hours: float | None, progress: Progress) -> list[Outcome]:
    """Follow a `dvc repro` from stage to stage; return how each ended, in the order of the run.

    Args:
        repro: a started run of which no line has been read.
        hours: time limit of a stage in hours.
        progress: shows the epochs; made before the run began.

    A run that fails before its first stage gives one Outcome named 'dvc'.
    """
    outcomes: list[Outcome] = []
    errors = []
    for line in repro.lines():
        log(line)
        errors += [line.text] if line.level >= logging.ERROR else []
    while repro.stage:
        name, began = repro.stage.name, repro.stage.began
        one = follow.with_options(name=name, task_run_name=name)
        state = one(repro, name, hours, progress, return_state=True)
        outcome = Outcome(
            stage=name,
            state=state.name or "Failed",
            seconds=repro.moment - began,
            message="" if state.is_completed() else state.message or "",
        )
        outcomes.append(outcome)
        if not state.is_completed():
            return outcomes
    if not repro.succeeded:
        outcomes.append(
            Outcome(stage="dvc", state="Failed", seconds=0.0, message="\n".join(errors) or "failed")
        )
    return outcomes


def log(line: Line) -> None:
    """Write a line of DVC or of a stage to Prefect's log, at its level."""
    get_run_logger().log(line.level, "%s", line.text)


def not_reached(outcomes: Iterable[Outcome], stages: Iterable[str]) -> list[Outcome]:
    """Return an Outcome for each stage that DVC did not reach."""
    reached = {outcome.stage for outcome in outcomes}
    return [
        Outcome(stage=stage, state="Not run", seconds=0.0)
        for stage in stages
        if stage not in reached
    ]


def _start_again(repro: Repro, name: str) -> None:
    """Start DVC again and skip the output of the stages that are already done."""
    repro.start()
    while repro.stage is None or repro.stage.name != name:
        for line in repro.lines():
            log(line)
        if repro.stage is None:
            return


def _is_reason(line: Line) -> bool:
    """Whether a line may say why a stage failed: the stage itself wrote it to stderr."""
    return line.level == logging.WARNING and not line.text.startswith("WARNING: ")


def _reason(errors: list[str], name: str, repro: Repro) -> str:
    """Return the stage's own error lines; of a traceback, only the last line."""
    if repro.exit_code == ExitCode.INTERRUPTED:
        errors = errors[-1:]
    if any(line.startswith("Traceback") for line in errors):
        errors = errors[-1:]
    return "\n".join(errors) or f"{name}: failed with exit code {repro.exit_code}"
