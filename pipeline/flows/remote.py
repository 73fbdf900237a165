"""What needs a remote of DVC or Git, with retries in case it is temporarily unreachable."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from prefect.tasks import exponential_backoff

from pipeline.harness.errors import RunError
from pipeline.harness.places import SWEEPS
from pipeline.locking.lock import hold
from pipeline.running.experiments import dvc
from pipeline.running.handing import Files, take_in
from pipeline.running.remote import default_remote

RETRIES = 4


def require_remote(tree: Path) -> None:
    """Raise RunError if the tree has no DVC remote to push to."""
    try:
        default_remote(tree)
    except RunError as error:
        raise RunError(f"push: {error}") from None


@task(
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=exponential_backoff(10),
    retry_jitter_factor=0.5,
)
def attempt(call: Callable[[], str]) -> State[None]:
    """Call a function that needs a remote; any failure may be temporary."""
    try:
        said = call()
    except RunError as error:
        return Failed(message=str(error))
    return Completed(message=said.splitlines()[0] if said else "done")


def push_outputs(tree: Path) -> None:
    """Push the outputs of all stages, and the run cache, which maps inputs to outputs."""
    _insist("push", partial(dvc, tree, "push", "--run-cache"))


def push_experiment(tree: Path, name: str) -> None:
    """Push an experiment to the Git remote `origin` and its outputs to the DVC remote."""
    _insist("push", partial(dvc, tree, "exp", "push", "origin", name))


def fetch_files(tree: Path, files: Files) -> None:
    """Fetch the files of a sweep from the Git remote `origin`."""
    _insist("fetch", partial(take_in, tree, files))


def push_for_sweep(tree: Path, reference: str) -> None:
    """Push an experiment to `origin` in place of one of its name; outputs if a remote is set."""
    _insist("push", partial(_exp, tree, "push", reference))


def pull_for_sweep(tree: Path, reference: str) -> None:
    """Pull what `push_for_sweep` pushed, in place of an experiment of its name in this clone."""
    # One at a time: DVC locks the tree, and waits for its lock for a few seconds only.
    with hold(tree / SWEEPS / "pull.lock", "", waiting=lambda _: None):
        _insist("pull", partial(_exp, tree, "pull", reference))


def _exp(tree: Path, what: str, reference: str) -> str:
    """Push or pull an experiment, its outputs only if there is a default remote.

    DVC 3.67 prints 'No experiments to pull' after it has replaced one.
    """
    options = [] if dvc(tree, "config", "core.remote") else ["--no-cache"]
    dvc(tree, "exp", what, "--force", *options, "origin", reference)
    return f"{reference}, {'without' if options else 'with'} outputs"


def _insist(name: str, call: Callable[[], str]) -> None:
    """Call a function as a task of the flow run; raise RunError if it fails every time."""
    state = attempt.with_options(name=name, task_run_name=name)(call, return_state=True)
    if not state.is_completed():
        raise RunError(f"{name}: {state.message}")
