"""What every flow needs: the folder of the project, and errors of users on one line."""

import logging
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

from prefect import get_run_logger
from prefect.exceptions import FailedRun
from prefect.runtime import flow_run
from prefect.states import Failed

from pipeline.harness.errors import AsoSeError
from pipeline.harness.showing import in_lines
from pipeline.locking.lock import signature
from pipeline.running.redaction import hide

P = ParamSpec("P")
T = TypeVar("T")


def project() -> Path:
    """Return the clone that this process works on.

    This is the current directory or, because workers start runs in temporary ones, that of this
    code.
    """
    here = Path.cwd()
    return here if (here / "dvc.yaml").is_file() else Path(__file__).resolve().parents[2]


def holder() -> str:
    """Return one line that identifies this run."""
    return signature(f"flow run '{flow_run.name}'")


def say_waiting(other: str) -> None:
    """Log who holds the lock that this run waits for."""
    get_run_logger().warning("waiting: this is held by %s", other or "another run")


class OnlyOnce(logging.Filter):
    """Drops the traceback with which Prefect tells again that a run has failed.

    It leads through Prefect alone, and the line before it has the reason.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record says more than that the run has failed."""
        return not (record.exc_info and isinstance(record.exc_info[1], FailedRun))


def in_one_line(body: Callable[P, T]) -> Callable[P, T]:
    """Make a flow fail with one line if a user can fix it; other errors keep their traceback."""

    @wraps(body)
    def told(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return body(*args, **kwargs)
        except AsoSeError as error:
            message = hide(in_lines(str(error)))
            return cast("T", Failed(message=message))  # Prefect makes it the flow's state

    return told
