"""`experiment`: the pipeline as a DVC experiment, isolated from the working tree."""

from collections.abc import Mapping
from pathlib import Path
from threading import Event
from typing import Any, TypedDict

from prefect import flow
from prefect.runtime import flow_run

from pipeline.flows.project import in_one_line, project, say_waiting
from pipeline.flows.remote import push_experiment, require_remote
from pipeline.flows.reproducing import run_dvc
from pipeline.flows.stages import OnEpoch, Outcome
from pipeline.running.experiments import check_name, isolated, keep_model, save, snapshot
from pipeline.running.overrides import compose
from pipeline.running.results import read_metrics


class Experiment(TypedDict):
    """Result of an experiment. model: path of the ONNX file. revision: hash of its Git commit."""

    name: str
    revision: str
    metrics: dict[str, float]
    model: str
    states: dict[str, str]


@flow(name="experiment")
@in_one_line
def experiment(
    *,
    name: str | None = None,
    profile: str | None = None,
    overrides: dict[str, Any] | None = None,
    push: bool = False,
    stage_hours: float | None = None,
) -> Experiment:
    """Run the tracked files as they are now, uncommitted edits included, as a DVC experiment.

    Args:
        name: name of the experiment, by default the flow run's; an existing one is replaced.
        profile: name of a file in `profiles/`; by default the working tree's `params.yaml`.
        overrides: params to change, such as {"search.arch_update_freq": 5}.
        push: push the experiment to the Git remote `origin`, its outputs to the DVC remote.
        stage_hours: time limit of a stage in hours; the next run resumes where it was ended.

    Returns:
        Its name, metrics and model. `aso-se compare` lists it, `aso-se apply NAME` applies it.
    """
    tree = project()
    name = name or str(flow_run.name)
    check_name(name)
    params = compose(tree, profile, overrides or {})
    if push:
        require_remote(tree)
    found = run_experiment(tree, name, commit=snapshot(tree), params=params, hours=stage_hours)
    if push:
        push_experiment(tree, name)
    return found


def run_experiment(
    tree: Path,
    name: str,
    *,
    commit: str,
    params: str,
    base: str = "HEAD",
    hours: float | None = None,
    stop: Event | None = None,
    environment: Mapping[str, str] | None = None,
    on_epoch: OnEpoch | None = None,
) -> Experiment:
    """Run an experiment in a worktree of its own, save it and keep its model.

    commit: commit whose files it runs. params: text of a valid `params.yaml`. base: commit that it
    is saved on. The other arguments are those of `run_dvc`.

    Raises:
        RunError: a stage failed; only the results of finished stages are kept, in the cache.
    """
    with isolated(
        tree, name, commit=commit, params=params, base=base, waiting=say_waiting
    ) as folder:
        outcomes = run_dvc(
            folder, key=name, hours=hours, stop=stop, environment=environment, on_epoch=on_epoch
        )
        return Experiment(
            name=name,
            revision=save(tree, folder, name),
            metrics=read_metrics(folder),
            model=str(keep_model(tree, folder, name)),
            states=states_of(outcomes),
        )


def run_stages(
    tree: Path,
    name: str,
    *stages: str,
    commit: str,
    params: str,
    base: str = "HEAD",
    hours: float | None = None,
    stop: Event | None = None,
) -> dict[str, str]:
    """Run some stages as `run_experiment` does, only for the cache; return the state of each."""
    with isolated(
        tree, name, commit=commit, params=params, base=base, waiting=say_waiting
    ) as folder:
        return states_of(run_dvc(folder, *stages, key=name, hours=hours, stop=stop))


def states_of(outcomes: list[Outcome]) -> dict[str, str]:
    """Return the state of each stage, by name."""
    return {outcome.stage: outcome.state for outcome in outcomes}
