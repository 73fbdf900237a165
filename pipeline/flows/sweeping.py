"""`sweep`: many experiments, on a grid or proposed by Optuna, ranked by one metric."""

import os
from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext
from hashlib import sha256
from pathlib import Path
from typing import Any, TypedDict

from prefect import flow
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.runtime import flow_run
from ruamel.yaml import YAML

from pipeline.flows.artifacts import artifact_key, as_markdown
from pipeline.flows.pools import in_pool, require_pool
from pipeline.flows.project import holder, in_one_line, project, say_waiting
from pipeline.flows.remote import push_experiment, require_remote
from pipeline.flows.stages import STOPPED
from pipeline.flows.tradeoff import Point, write_tradeoff
from pipeline.flows.trials import Here, Place, Plan, stages_that_ran, try_all
from pipeline.harness.errors import AsoSeError, ParamsError
from pipeline.harness.places import STUDIES, SWEEPS
from pipeline.locking.lock import hold
from pipeline.running.experiments import check_name, snapshot
from pipeline.running.graph import read_graph, touched
from pipeline.running.overrides import compose
from pipeline.running.proposals import Direction, Range, Study, grid, tpe
from pipeline.running.results import COSTS, check_metric

FEWEST_POINTS = 2
"""Fewest networks that are worth a picture."""


class Ranked(TypedDict):
    """An experiment of a sweep. value: its objective, or None. costs: those of its network.

    place: machine and clone where it ran; '' without a pool.
    """

    experiment: str
    state: str
    value: float | None
    overrides: dict[str, Any]
    costs: dict[str, float]
    place: str


class Ranking(TypedDict):
    """Result of a sweep. best: overrides of the first. ran: how often each stage ran.

    picture: file of the costs and objectives of its networks; None if it has fewer than two.
    """

    best: dict[str, Any]
    ranking: list[Ranked]
    ran: dict[str, int]
    picture: str | None


@flow(name="sweep")
@in_one_line
def sweep(
    *,
    space: dict[str, list[Any] | Range],
    name: str | None = None,
    trials: int | None = None,
    objective: str = "growth.validation_accuracy",
    direction: Direction = "maximize",
    max_parallel: int = 1,
    devices: list[str] | None = None,
    pool: str | None = None,
    profile: str | None = None,
    overrides: dict[str, Any] | None = None,
    push: bool = False,
    stage_hours: float | None = None,
) -> Ranking:
    """Run an experiment at each point of a grid, or at points proposed by Optuna, and rank them.

    Args:
        space: param -> its values, such as {"search.arch_update_freq": [3, 5, 7]}; or, with
            `trials`, a range such as {"low": 1.0, "high": 8.0, "log": true}.
        name: name of the sweep; its experiments are `name-00`, `name-01`, ... A study continues
            an earlier run of the same name.
        trials: total number of trials of an Optuna study; without it, the sweep is a grid.
        objective: metric to rank by, `<stage>.<name>` of `artifacts/*/metrics.json`. The default
            is of validation images, because choosing by test images spoils the test.
        direction: whether a larger or a smaller value is better.
        max_parallel: number of experiments at the same time, each with its share of the cores.
        devices: devices such as ["cuda:0", "cuda:1"], one for each experiment at the same time.
        pool: work pool on whose workers the experiments run; by default they run in this clone.
        profile: name of a file in `profiles/`; by default the working tree's `params.yaml`.
        overrides: params to change in all experiments.
        push: push the best experiment.
        stage_hours: time limit of a stage in hours.

    Returns:
        The best overrides and the ranking.
    """
    tree = project()
    name = name or str(flow_run.name)
    check_name(name)
    check_metric(tree, objective)
    slots = (devices or [""] * max_parallel)[: max(max_parallel, 1)]
    check_space(tree, space, profile=profile, overrides=overrides)
    if trials is not None and trials < 1:
        raise ParamsError(f"trials: expected 1 or more, got {trials}")
    if pool and devices:
        raise ParamsError("devices: not with a pool; each worker chooses its own (ASO_SE_DEVICE)")
    if push:
        require_remote(tree)
    plan = Plan(
        tree=tree, name=name, profile=profile, overrides=overrides or {}, objective=objective
    )
    where = (
        in_pool(plan, pool, require_pool(pool), hours=stage_hours)
        if pool
        else nullcontext(_here(plan, stage_hours, len(slots)))
    )
    with hold(tree / SWEEPS / f"{name}.lock", holder(), waiting=say_waiting):
        study = _study(plan, space, trials, direction)
        with where as place:
            ran = _run_what_all_share(plan, place, space) if len(slots) > 1 else Counter[str]()
            ran += try_all(plan, place, study, slots)
    ranking = _rank(plan, study, direction)
    _publish(plan, ranking)
    picture = _draw(plan, space, ranking, direction)
    if not ranking or ranking[0]["value"] is None:
        raise AsoSeError(f"sweep {name}: no experiment was completed; see the errors of its trials")
    if push:
        push_experiment(tree, ranking[0]["experiment"])
    best = ranking[0]["overrides"]
    return Ranking(best=best, ranking=ranking, ran=dict(ran), picture=picture)


def check_space(
    tree: Path,
    space: Mapping[str, list[Any] | Range],
    *,
    profile: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> None:
    """Raise ParamsError unless every value of every key is valid."""
    if not space:
        raise ParamsError("space: names no param to sweep")
    for key, choice in space.items():
        values = choice if isinstance(choice, list) else [choice.low, choice.high]
        if not values:
            raise ParamsError(f"{key}: has no values to try")
        for value in values:
            compose(tree, profile, {**(overrides or {}), key: value})


def _here(plan: Plan, hours: float | None, parallel: int) -> Place:
    """Return this clone as the place of several trials at once."""
    return Here(
        tree=plan.tree,
        commit=snapshot(plan.tree),
        hours=hours,
        environment=_share_of_cores(parallel),
    )


def _run_what_all_share(plan: Plan, place: Place, space: Mapping[str, Any]) -> Counter[str]:
    """Run once the stages that no point changes, so that parallel trials do not each run them."""
    graph = read_graph(plan.tree)
    changing = touched(graph, space)
    shared = [stage.name for stage in graph if stage.name not in changing]
    if not shared:
        return Counter()
    states = place.run_stages(f"{plan.name}-shared", plan.params({}), shared)
    return Counter(stages_that_ran(states))


def _study(
    plan: Plan, space: Mapping[str, list[Any] | Range], trials: int | None, direction: Direction
) -> Study:
    if trials is None:
        return grid(space)
    params = YAML(typ="safe").load(plan.params({}))
    stages = [stage.name for stage in read_graph(plan.tree)]
    before = stages[: stages.index(plan.objective.partition(".")[0]) + 1]
    epochs = sum(params[stage].get("epochs", 0) for stage in before if stage in params)
    return tpe(
        plan.tree / STUDIES,
        plan.name,
        space=space,
        direction=direction,
        trials=trials,
        seed=params["seed"],
        first_epoch=epochs // 2,
        facts={
            "space": str(sorted(space.items())),
            "objective": plan.objective,
            "params.yaml": sha256(plan.params({}).encode()).hexdigest(),
        },
    )


def _share_of_cores(parallel: int) -> dict[str, str]:
    """Return an environment that limits each of several experiments to its share of the cores."""
    if parallel == 1 or "OMP_NUM_THREADS" in os.environ:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // parallel))}


def _rank(plan: Plan, study: Study, direction: Direction) -> list[Ranked]:
    """Return all trials, the best first, those without a value last."""
    sign = -1 if direction == "maximize" else 1
    tried = [one for one in study.tried() if one.state != STOPPED]
    tried = sorted(tried, key=lambda one: (one.value is None, sign * (one.value or 0.0)))
    return [
        Ranked(
            experiment=plan.experiment(one.point),
            state=one.state,
            value=one.value,
            overrides=dict(one.point.overrides),
            costs=dict(one.costs),
            place=one.place,
        )
        for one in tried
    ]


def _draw(
    plan: Plan, space: Mapping[str, Any], ranking: list[Ranked], direction: Direction
) -> str | None:
    """Draw what each network costs and how good it is; return the file, None if there are too few.

    The cost is the first one whose target the sweep varies, else the number of parameters.
    """
    cost = next((name for name in COSTS if f"target.{name}" in space), "parameters")
    points = [
        Point(
            label=", ".join(f"{value}" for value in one["overrides"].values()),
            cost=one["costs"][cost],
            value=one["value"],
        )
        for one in ranking
        if one["value"] is not None and cost in one["costs"]
    ]
    if len(points) < FEWEST_POINTS:
        return None
    path = plan.tree / SWEEPS / f"{plan.name}.svg"
    maximize = direction == "maximize"
    write_tradeoff(path, points, cost=cost, objective=plan.objective, maximize=maximize)
    picture = as_markdown(path)
    key = artifact_key(f"{plan.name}-tradeoff")
    create_markdown_artifact(picture, key=key, description=f"Sweep {plan.name}: cost and quality")
    return str(path.relative_to(plan.tree))


def _publish(plan: Plan, ranking: list[Ranked]) -> None:
    rows = [
        {
            "rank": rank,
            "experiment": one["experiment"],
            plan.objective: one["value"],
            "state": one["state"],
            **one["overrides"],
            **one["costs"],
            **({"place": one["place"]} if one["place"] else {}),
        }
        for rank, one in enumerate(ranking, start=1)
    ]
    key = artifact_key(f"{plan.name}-ranking")
    create_table_artifact(rows, key=key, description=f"Sweep {plan.name} by {plan.objective}")
