"""`nightly`: reproduce, and replace the registered model if the new one is better."""

from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from pipeline.flows.project import in_one_line, project
from pipeline.flows.reproducing import reproduced
from pipeline.running.registry import Direction, Verdict, register
from pipeline.running.results import read_metrics


@flow(name="nightly")
@in_one_line
def nightly(
    *,
    profile: str | None = None,
    overrides: dict[str, Any] | None = None,
    metric: str = "derive.test_accuracy",
    direction: Direction = "maximize",
    min_gain: float = 0.0,
    registry: str = "registered",
    force: bool = False,
    push: bool = False,
    stage_hours: float | None = None,
) -> dict[str, float]:
    """Run what changed, then register the model if it beats the registered one.

    Args:
        profile: name of a file in `profiles/` that replaces `params.yaml`; by default it stays.
        overrides: params to change in it, such as {"search.arch_update_freq": 5}.
        metric: metric to compare models by, `<stage>.<name>` of `artifacts/*/metrics.json`.
        direction: whether a larger or a smaller value is better.
        min_gain: smallest improvement of the metric with which a model is registered.
        registry: folder of registered models, in the project or absolute; `current` is the newest.
        force: run every stage, changed or not.
        push: push the results to the DVC remote.
        stage_hours: time limit of a stage in hours; the next run resumes where it was ended.

    Returns:
        The metrics of the new model, registered or not.
    """
    tree = project()
    with reproduced(
        tree,
        profile,
        overrides or {},
        key="nightly",
        force=force,
        push=push,
        hours=stage_hours,
    ):
        compare(tree, tree / registry, metric=metric, direction=direction, min_gain=min_gain)
        return read_metrics(tree)


@task(name="register", task_run_name="register", cache_policy=NO_CACHE, persist_result=False)
def compare(
    tree: Path, registry: Path, *, metric: str, direction: Direction, min_gain: float
) -> State[None]:
    """Register the tree's model or keep the old one; the state says which and why."""
    verdict: Verdict = register(
        tree, registry, metric=metric, direction=direction, min_gain=min_gain
    )
    name = "Registered" if verdict.registered else "Kept"
    return Completed(name=name, message=verdict.reason)
