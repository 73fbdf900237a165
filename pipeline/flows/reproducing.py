"""`reproduce`: bring the working tree up to date with `dvc repro`, visible in Prefect."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

from prefect import flow, get_run_logger
from ruamel.yaml import YAML

from pipeline.flows.artifacts import publish
from pipeline.flows.progress import Progress
from pipeline.flows.project import holder, in_one_line, project, say_waiting
from pipeline.flows.remote import push_outputs, require_remote
from pipeline.flows.stages import GIVEN_UP, STOPPED, OnEpoch, Outcome, follow_all, not_reached
from pipeline.harness.errors import RunError
from pipeline.harness.places import LOCK
from pipeline.locking.lock import hold
from pipeline.running.comparing import read_lock, strike_out_wrong
from pipeline.running.graph import read_graph
from pipeline.running.making_way import make_way
from pipeline.running.mending import mend
from pipeline.running.overrides import compose
from pipeline.running.params_file import use_params
from pipeline.running.repro import Repro, StoppedError
from pipeline.running.results import read_metrics


class GivenUpError(RunError):
    """A run was ended because other trials are better."""


@flow(name="reproduce")
@in_one_line
def reproduce(
    *,
    profile: str | None = None,
    overrides: dict[str, Any] | None = None,
    force: bool = False,
    push: bool = False,
    stage_hours: float | None = None,
) -> dict[str, float]:
    """Run whatever changed in the working tree, one task per stage; one run at a time.

    Args:
        profile: name of a file in `profiles/` that replaces `params.yaml`; by default it stays.
        overrides: params to change in it, such as {"search.arch_update_freq": 5}.
        force: run every stage, changed or not.
        push: push the results to the DVC remote.
        stage_hours: time limit of a stage in hours; the next run resumes where it was ended.

    Returns:
        Every number in `artifacts/*/metrics.json`, as `<stage>.<name>`.
    """
    tree = project()
    with reproduced(
        tree,
        profile,
        overrides or {},
        key="reproduce",
        force=force,
        push=push,
        hours=stage_hours,
    ):
        return read_metrics(tree)


@contextmanager
def reproduced(
    tree: Path,
    profile: str | None,
    overrides: Mapping[str, Any],
    *,
    key: str,
    force: bool,
    push: bool,
    hours: float | None,
) -> Iterator[None]:
    """Bring a tree up to date, and hold its lock while the block runs.

    Raises:
        ParamsError: the params are not valid; nothing has been run or written.
        RunError: a stage failed; the message is its error line.
    """
    text = compose(tree, profile, overrides)
    if push:
        require_remote(tree)
    with hold(tree / LOCK, holder(), waiting=say_waiting) as lock:
        for line in mend(tree):
            get_run_logger().warning(line)
        if kept := use_params(tree, text):
            get_run_logger().info("%s: copy of the params.yaml that was edited by hand", kept.name)
        run_dvc(tree, key=key, force=force, hours=hours, lock=lock)
        if push:
            push_outputs(tree)
        yield


def run_dvc(
    tree: Path,
    *targets: str,
    key: str,
    force: bool = False,
    hours: float | None = None,
    lock: int | None = None,
    stop: Event | None = None,
    environment: Mapping[str, str] | None = None,
    on_epoch: OnEpoch | None = None,
) -> list[Outcome]:
    """Run `dvc repro` in a tree as tasks of the current flow run, and publish the results.

    Args:
        tree: a clone with a valid `params.yaml`.
        targets: stages to run; by default all.
        key: prefix of the artifacts' keys in Prefect.
        force: whether to run every stage, changed or not.
        hours: time limit of a stage in hours.
        lock: descriptor of a lock file, which DVC inherits.
        stop: event that ends the run.
        environment: variables added to DVC's environment.
        on_epoch: function that is called with each new row of a stage's history.

    Raises:
        RunError: a stage failed; the message is its error line. Or DVC recorded other files than a
            stage wrote.
        StoppedError, GivenUpError: the run was ended on purpose.
    """
    graph = read_graph(tree)
    params = YAML(typ="safe").load((tree / "params.yaml").read_text(encoding="utf-8"))
    epochs = {
        stage.name: params[stage.name]["epochs"]
        for stage in graph
        if "epochs" in params.get(stage.name, {})
    }
    arguments = [*(["--force"] if force else []), *targets]
    make_way(tree)
    before = read_lock(tree)
    progress = Progress(tree, epochs, on_epoch)
    with Repro(tree, *arguments, environment=environment, lock=lock, stop=stop) as repro:
        outcomes = follow_all(repro, hours=hours, progress=progress)
    if wrong := strike_out_wrong(tree, before, repro.process):
        raise RunError(wrong[0])
    reached = [*outcomes, *not_reached(outcomes, (stage.name for stage in graph))]
    publish(tree, reached, key=key)
    for failed in (outcome for outcome in outcomes if outcome.failed):
        kind = {STOPPED: StoppedError, GIVEN_UP: GivenUpError}.get(failed.state, RunError)
        raise kind(f"{failed.stage}: {failed.message.removeprefix(f'{failed.stage}: ')}")
    return outcomes
