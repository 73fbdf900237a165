"""`trial`: one experiment of a sweep, on any worker of a work pool, in the worker's clone."""

from uuid import UUID

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed

from pipeline.flows.experimenting import run_experiment, run_stages
from pipeline.flows.project import in_one_line, project
from pipeline.flows.remote import fetch_files, push_for_sweep
from pipeline.flows.signs import Telling
from pipeline.running.experiments import check_name, reference
from pipeline.running.handing import Files
from pipeline.running.repro import StoppedError


@flow(name="trial")
@in_one_line
def trial(
    *,
    name: str,
    files: Files,
    params: str,
    column: str,
    stages: list[str] | None = None,
    stage_hours: float | None = None,
) -> State[None]:
    """Run an experiment for a sweep elsewhere, and push it to the Git remote `origin`.

    `aso-se sweep --pool` starts it. What it tells the sweep is in `signs.py`.

    Args:
        name: name of the experiment; an existing one is replaced.
        files: the files of the sweep, and where `origin` has them.
        params: text of a valid `params.yaml`.
        column: objective of the sweep in the histories of stages.
        stages: stages to run, only for the cache; by default all, and the experiment is saved.
        stage_hours: time limit of a stage in hours.

    Returns:
        Its final state; Cancelled if the sweep ended it.
    """
    tree = project()
    check_name(name)
    with Telling(UUID(str(flow_run.id)), tree, column) as telling:
        try:
            fetch_files(tree, files)
            if stages:
                states = run_stages(
                    tree, name, *stages, commit=files.commit, base=files.base, params=params,
                    hours=stage_hours, stop=telling.stop,
                )  # fmt: skip
                telling.ended(states)
            else:
                found = run_experiment(
                    tree, name, commit=files.commit, base=files.base, params=params,
                    hours=stage_hours, stop=telling.stop, on_epoch=telling.epoch,
                )  # fmt: skip
                push_for_sweep(tree, reference(name, files.base))
                telling.ended(found["states"], found["revision"])
        except StoppedError as error:
            return Cancelled(message=str(error))
    return Completed(message=f"{name}: done")
