"""Pushing to the DVC remote, with retries in case it is temporarily unreachable."""

from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from prefect.tasks import exponential_backoff

from pipeline.harness.errors import RunError
from pipeline.running.experiments import dvc
from pipeline.running.remote import default_remote

RETRIES = 4


def require_remote(tree: Path) -> None:
    """Raise RunError if the tree has no DVC remote to push to."""
    try:
        default_remote(tree)
    except RunError as error:
        raise RunError(f"push: {error}") from None


@task(
    name="push",
    task_run_name="push",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=exponential_backoff(10),
    retry_jitter_factor=0.5,
)
def try_to_push(tree: Path, *command: str) -> State[None]:
    """Run a DVC command that pushes; any failure may be temporary."""
    try:
        said = dvc(tree, *command)
    except RunError as error:
        return Failed(message=str(error))
    return Completed(message=said.splitlines()[-1] if said else "pushed")


def push_outputs(tree: Path) -> None:
    """Push the outputs of all stages, and the run cache, which maps inputs to outputs."""
    _or_fail(try_to_push(tree, "push", "--run-cache", return_state=True))


def push_experiment(tree: Path, name: str) -> None:
    """Push an experiment to the Git remote `origin` and its outputs to the DVC remote."""
    _or_fail(try_to_push(tree, "exp", "push", "origin", name, return_state=True))


def _or_fail(state: State[Any]) -> None:
    if not state.is_completed():
        raise RunError(f"push: {state.message}")
