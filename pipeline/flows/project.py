"""What every flow needs to know: where the project is, and how a user's mistake is told."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

from prefect import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Failed

from pipeline.harness.errors import AsoSeError
from pipeline.running.lock import signature

P = ParamSpec("P")
T = TypeVar("T")


def project() -> Path:
    """Return the clone that this process works on.

    The current directory, or, as workers start runs in temporary ones, that of this code.
    """
    here = Path.cwd()
    return here if (here / "dvc.yaml").is_file() else Path(__file__).resolve().parents[2]


def holder() -> str:
    """Return one line that says who this run is."""
    return signature(f"flow run '{flow_run.name}'")


def say_waiting(other: str) -> None:
    """Log who has what this run waits for."""
    get_run_logger().warning("waiting: this is held by %s", other or "another run")


def in_one_line(body: Callable[P, T]) -> Callable[P, T]:
    """Let a flow fail with the line of what a user can put right; other errors keep their trace."""

    @wraps(body)
    def told(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return body(*args, **kwargs)
        except AsoSeError as error:
            return cast("T", Failed(message=str(error)))  # Prefect takes it for the flow's state

    return told
