"""The trials of a sweep: their common plan, and running one or all of them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from threading import Event
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.states import Cancelled, Completed, Failed

from pipeline.flows.experimenting import run_experiment
from pipeline.flows.reproducing import GivenUpError
from pipeline.flows.stages import GIVEN_UP, STATES, STOPPED
from pipeline.harness.errors import AsoSeError
from pipeline.running.overrides import compose
from pipeline.running.proposals import Point, Study, Tried
from pipeline.running.redaction import hide
from pipeline.running.repro import StoppedError
from pipeline.running.results import COSTS, cost_in, pick


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The common plan of all trials of a sweep.

    commit: commit whose files they run. environment: variables of their stages. stop: event that
    ends them all.
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
    """A trial that has ended. ran: stages that really ran. device: device it used, or ''."""

    tried: Tried
    ran: list[str]
    device: str


@task(name="trial", cache_policy=NO_CACHE, persist_result=False)
def try_point(
    plan: Plan, study: Study, point: Point, device: str, ended: "Queue[Ended]"
) -> State[None]:
    """Run the experiment of a point; tell the sweep how it ended."""
    column = plan.objective.partition(".")[2]

    def is_hopeless(_: str, row: Mapping[str, str]) -> bool:
        value = row.get(column, "")
        return bool(value) and study.is_hopeless(point, int(row["epoch"]), float(value))

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
        costs = {name: cost_in(found["metrics"], name) for name in COSTS}
        known = {name: cost for name, cost in costs.items() if cost is not None}
        tried = Tried(point=point, state="Completed", value=value, costs=known)
        return Completed(message=f"{plan.objective} {value:.6g}")
    except StoppedError as error:
        return Cancelled(message=str(error))
    except GivenUpError as error:
        tried = Tried(point=point, state=GIVEN_UP)
        return Cancelled(name=GIVEN_UP, message=str(error))
    except AsoSeError as error:
        tried = Tried(point=point, state="Failed")
        return Failed(message=hide(str(error)))
    finally:
        ended.put(Ended(tried=tried, ran=ran, device=device))


def try_all(plan: Plan, study: Study, devices: list[str]) -> Counter[str]:
    """Run the trials, one at a time per device; return how often each stage ran."""
    idle, ran = list(devices), Counter[str]()
    ended: Queue[Ended] = Queue()
    futures: list[PrefectFuture[State[None]]] = []
    running = 0
    try:
        while True:
            while idle and (point := study.ask()):
                one = try_point.with_options(task_run_name=plan.experiment(point))
                futures.append(one.submit(plan, study, point, idle.pop(), ended))
                running += 1
            if not running:
                return ran
            last = ended.get()
            running -= 1
            idle.append(last.device)
            ran.update(last.ran)
            study.tell(last.tried)
    finally:
        plan.stop.set()
        for future in futures:
            future.wait()
