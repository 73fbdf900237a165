"""`sweep`: many experiments, over a grid or led by Optuna, ranked by one metric."""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from queue import Queue
from threading import Event
from typing import Any, TypedDict

import yaml
from prefect import flow, task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Failed

from pipeline.errors import AsoSeError, ParamsError
from pipeline.flows.artifacts import artifact_key
from pipeline.flows.experimenting import run_experiment
from pipeline.flows.project import holder, in_one_line, project, say_waiting
from pipeline.flows.remote import push_experiment, require_remote
from pipeline.flows.reproducing import GivenUpError, run_dvc
from pipeline.flows.stages import GIVEN_UP, STATES, STOPPED
from pipeline.running.experiments import STATE, check_name, isolated, snapshot
from pipeline.running.graph import read_graph, touched
from pipeline.running.lock import hold
from pipeline.running.overrides import compose
from pipeline.running.proposals import Direction, Point, Proposals, Range, Study, Tried, grid
from pipeline.running.repro import StoppedError
from pipeline.running.results import check_metric, pick

STUDIES = STATE / "sweeps.db"


class Ranked(TypedDict):
    """An experiment of a sweep. value: its objective, None if it has none."""

    experiment: str
    state: str
    value: float | None
    overrides: dict[str, Any]


class Ranking(TypedDict):
    """What a sweep found. best: the overrides of the first. ran: how often each stage did."""

    best: dict[str, Any]
    ranking: list[Ranked]
    ran: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What all trials of a sweep have in common.

    commit: whose files they run. environment: of their stages. stop: ends them all.
    """

    tree: Path
    name: str
    commit: str
    profile: str | None
    overrides: Mapping[str, Any]
    objective: str
    hours: float | None
    environment: Mapping[str, str]
    stop: Event = field(default_factory=Event)

    def params(self, point: Mapping[str, Any]) -> str:
        """Return the text of `params.yaml` at a point; raise ParamsError if it is not valid."""
        return compose(self.tree, self.profile, {**self.overrides, **point})

    def experiment(self, point: Point) -> str:
        """Return the name of the experiment at a point."""
        return f"{self.name}-{point.number:02}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A trial that has ended. ran: the stages that really did. device: it had, or ''."""

    tried: Tried
    ran: list[str]
    device: str


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
    profile: str | None = None,
    overrides: dict[str, Any] | None = None,
    push: bool = False,
    stage_hours: float | None = None,
) -> Ranking:
    """Run an experiment at each point of a grid, or where Optuna proposes, and rank them.

    Args:
        space: param -> its values, such as {"search.arch_update_freq": [3, 5, 7]}; or, with
            `trials`, a range such as {"low": 1.0, "high": 8.0, "log": true}.
        name: of the sweep; `name-00`, `name-01`, ... are its experiments. A study goes on with what
            an earlier run of the same name has tried.
        trials: how many an Optuna study shall have in the end; none makes it a grid.
        objective: metric to rank by, as `<stage>.<name>` of `artifacts/*/metrics.json`. By default
            one of validation images: whoever chooses by test images has none left to test on.
        direction: whether more of it is better.
        max_parallel: experiments at once, each with its share of the cores.
        devices: such as ["cuda:0", "cuda:1"], one for each experiment at once.
        profile: one of `profiles/`; by default the working tree's `params.yaml`.
        overrides: params to change in all of them.
        push: push the best experiment.
        stage_hours: that a stage may take.

    Returns:
        The best overrides and the ranking.
    """
    tree = project()
    name = name or str(flow_run.name)
    check_name(name)
    check_metric(tree, objective)
    slots = (devices or [""] * max_parallel)[: max(max_parallel, 1)]
    plan = Plan(
        tree=tree,
        name=name,
        commit=snapshot(tree),
        profile=profile,
        overrides=overrides or {},
        objective=objective,
        hours=stage_hours,
        environment=_share_of_cores(len(slots)),
    )
    check_space(tree, space, profile=profile, overrides=plan.overrides)
    if trials is not None and trials < 1:
        raise ParamsError(f"trials: expected 1 or more, got {trials}")
    if push:
        require_remote(tree)
    with hold(tree / STATE / "sweeps" / f"{name}.lock", holder(), waiting=say_waiting):
        proposals = _proposals(plan, space, trials, direction)
        ran = _run_what_all_share(plan, space) if len(slots) > 1 else Counter[str]()
        ran += _try_all(plan, proposals, slots)
    ranking = _rank(plan, proposals, direction)
    _publish(plan, ranking)
    if not ranking or ranking[0]["value"] is None:
        raise AsoSeError(f"sweep {name}: no experiment reached its end; see its trials")
    if push:
        push_experiment(tree, ranking[0]["experiment"])
    return Ranking(best=ranking[0]["overrides"], ranking=ranking, ran=dict(ran))


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


@task(name="trial", cache_policy=NO_CACHE, persist_result=False)
def try_point(
    plan: Plan, proposals: Proposals, point: Point, device: str, ended: "Queue[Ended]"
) -> State[None]:
    """Run the experiment of a point; tell the sweep how it ended."""
    column = plan.objective.partition(".")[2]

    def is_hopeless(_: str, row: Mapping[str, str]) -> bool:
        value = row.get(column, "")
        return bool(value) and proposals.is_hopeless(point, int(row["epoch"]), float(value))

    ran: list[str] = []
    tried = Tried(point=point, state=STOPPED)
    try:
        found = run_experiment(
            plan.tree,
            plan.experiment(point),
            commit=plan.commit,
            params=plan.params(point.overrides),
            hours=plan.hours,
            stop=plan.stop,
            environment={**plan.environment, **({"ASO_SE_DEVICE": device} if device else {})},
            on_epoch=is_hopeless,
        )
        ran += [stage for stage, state in found["states"].items() if state == STATES["ran"]]
        value = pick(found["metrics"], plan.objective)
        tried = Tried(point=point, state="Completed", value=value)
        return Completed(message=f"{plan.objective} {value:.6g}")
    except StoppedError as error:
        return Cancelled(message=str(error))
    except GivenUpError as error:
        tried = Tried(point=point, state=GIVEN_UP)
        return Cancelled(name=GIVEN_UP, message=str(error))
    except AsoSeError as error:
        tried = Tried(point=point, state="Failed")
        return Failed(message=str(error))
    finally:
        ended.put(Ended(tried=tried, ran=ran, device=device))


def _try_all(plan: Plan, proposals: Proposals, devices: list[str]) -> Counter[str]:
    """Run trials, as many at once as there are devices; return how often each stage ran."""
    idle, ran = list(devices), Counter[str]()
    ended: Queue[Ended] = Queue()
    futures: list[PrefectFuture[State[None]]] = []
    running = 0
    try:
        while True:
            while idle and (point := proposals.ask()):
                one = try_point.with_options(task_run_name=plan.experiment(point))
                futures.append(one.submit(plan, proposals, point, idle.pop(), ended))
                running += 1
            if not running:
                return ran
            last = ended.get()
            running -= 1
            idle.append(last.device)
            ran.update(last.ran)
            proposals.tell(last.tried)
    finally:
        plan.stop.set()
        for future in futures:
            future.wait()


def _run_what_all_share(plan: Plan, space: Mapping[str, Any]) -> Counter[str]:
    """Run the stages that no point changes once, before trials at the same time all would."""
    graph = read_graph(plan.tree)
    changing = touched(graph, space)
    shared = [stage.name for stage in graph if stage.name not in changing]
    key = f"{plan.name}-shared"
    with isolated(
        plan.tree, key, commit=plan.commit, params=plan.params({}), waiting=say_waiting
    ) as folder:
        outcomes = run_dvc(folder, *shared, key=key, hours=plan.hours)
    return Counter(outcome.stage for outcome in outcomes if outcome.state == STATES["ran"])


def _proposals(
    plan: Plan, space: Mapping[str, list[Any] | Range], trials: int | None, direction: Direction
) -> Proposals:
    if trials is None:
        return grid(space)
    params = yaml.safe_load(plan.params({}))
    stages = [stage.name for stage in read_graph(plan.tree)]
    before = stages[: stages.index(plan.objective.partition(".")[0]) + 1]
    epochs = sum(params[stage].get("epochs", 0) for stage in before if stage in params)
    swept = {
        key: choice.model_dump() if isinstance(choice, Range) else choice
        for key, choice in space.items()
    }
    return Study(
        plan.tree / STUDIES,
        plan.name,
        space=space,
        direction=direction,
        trials=trials,
        seed=params["seed"],
        first_epoch=epochs // 2,
        facts={
            "space": swept,
            "objective": plan.objective,
            "params.yaml": sha256(plan.params({}).encode()).hexdigest(),
        },
    )


def _share_of_cores(parallel: int) -> dict[str, str]:
    """Return how many threads each of several experiments has: more would wait for each other."""
    if parallel == 1 or "OMP_NUM_THREADS" in os.environ:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // parallel))}


def _rank(plan: Plan, proposals: Proposals, direction: Direction) -> list[Ranked]:
    """Return all that was tried, the best first, what has no value last."""
    sign = -1 if direction == "maximize" else 1
    tried = [one for one in proposals.tried() if one.state != STOPPED]
    tried = sorted(tried, key=lambda one: (one.value is None, sign * (one.value or 0.0)))
    return [
        Ranked(
            experiment=plan.experiment(one.point),
            state=one.state,
            value=one.value,
            overrides=dict(one.point.overrides),
        )
        for one in tried
    ]


def _publish(plan: Plan, ranking: list[Ranked]) -> None:
    rows = [
        {
            "rank": rank,
            "experiment": one["experiment"],
            plan.objective: one["value"],
            "state": one["state"],
            **one["overrides"],
        }
        for rank, one in enumerate(ranking, start=1)
    ]
    key = artifact_key(f"{plan.name}-ranking")
    create_table_artifact(rows, key=key, description=f"Sweep {plan.name} by {plan.objective}")
