"""The trials of a sweep: their common plan, and running one or all of them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from threading import Event
from typing import Any, Protocol

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.states import Cancelled, Completed, Failed

from pipeline.flows.experimenting import run_experiment, run_stages
from pipeline.flows.reproducing import GivenUpError
from pipeline.flows.stages import GIVEN_UP, STATES, STOPPED, OnEpoch
from pipeline.harness.errors import AsoSeError
from pipeline.running.overrides import compose
from pipeline.running.proposals import Point, Study, Tried
from pipeline.running.redaction import hide
from pipeline.running.repro import StoppedError
from pipeline.running.results import COSTS, cost_in, pick


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a trial gave. states: how its stages ended. place: where it ran, '' for this clone."""

    metrics: Mapping[str, float]
    states: Mapping[str, str]
    place: str = ""


class Place(Protocol):
    """Where trials run: in this clone, or on the workers of a pool."""

    def run_trial(
        self, name: str, params: str, *, device: str, stop: Event, on_epoch: OnEpoch
    ) -> Run:
        """Run an experiment; afterwards it is one of this clone.

        Args:
            name: name of the experiment.
            params: text of a valid `params.yaml`.
            device: device to run on, or '' to leave the choice.
            stop: event that ends it.
            on_epoch: function that is called with each new row of a history.

        Raises:
            RunError: it failed; StoppedError, GivenUpError: it was ended on purpose.
        """
        ...

    def run_stages(self, name: str, params: str, stages: Sequence[str]) -> Mapping[str, str]:
        """Run stages that all trials share; return how they ended. The trials find the results."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """The trials of a sweep run in worktrees of this clone.

    commit: commit whose files they run. environment: variables of their stages.
    """

    tree: Path
    commit: str
    hours: float | None
    environment: Mapping[str, str]

    def run_trial(
        self, name: str, params: str, *, device: str, stop: Event, on_epoch: OnEpoch
    ) -> Run:
        """See `Place`."""
        found = run_experiment(
            self.tree,
            name,
            commit=self.commit,
            params=params,
            hours=self.hours,
            stop=stop,
            environment={**self.environment, **({"ASO_SE_DEVICE": device} if device else {})},
            on_epoch=on_epoch,
        )
        return Run(metrics=found["metrics"], states=found["states"])

    def run_stages(self, name: str, params: str, stages: Sequence[str]) -> Mapping[str, str]:
        """See `Place`."""
        return run_stages(
            self.tree, name, *stages, commit=self.commit, params=params, hours=self.hours
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The common plan of all trials of a sweep. stop: event that ends them all."""

    tree: Path
    name: str
    profile: str | None
    overrides: Mapping[str, Any]
    objective: str
    stop: Event = field(default_factory=Event)

    @property
    def column(self) -> str:
        """The objective's column in the history of its stage."""
        return self.objective.partition(".")[2]

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
    plan: Plan, study: Study, point: Point, *, place: Place, device: str, ended: "Queue[Ended]"
) -> State[None]:
    """Run the experiment of a point; tell the sweep how it ended."""

    def is_hopeless(_: str, row: Mapping[str, str]) -> bool:
        value = row.get(plan.column, "")
        return bool(value) and study.is_hopeless(point, int(row["epoch"]), float(value))

    ran: list[str] = []
    tried = Tried(point=point, state=STOPPED)
    try:
        found = place.run_trial(
            plan.experiment(point),
            plan.params(point.overrides),
            device=device,
            stop=plan.stop,
            on_epoch=is_hopeless,
        )
        ran += stages_that_ran(found.states)
        value = pick(found.metrics, plan.objective)
        costs = {name: cost_in(found.metrics, name) for name in COSTS}
        known = {name: cost for name, cost in costs.items() if cost is not None}
        tried = Tried(point=point, state="Completed", value=value, costs=known, place=found.place)
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


def stages_that_ran(states: Mapping[str, str]) -> list[str]:
    """Return the stages that really ran. states: state of each stage, by name."""
    return [stage for stage, state in states.items() if state == STATES["ran"]]


def try_all(plan: Plan, place: Place, study: Study, devices: list[str]) -> Counter[str]:
    """Run the trials, one at a time per device; return how often each stage ran."""
    idle, ran = list(devices), Counter[str]()
    ended: Queue[Ended] = Queue()
    futures: list[PrefectFuture[State[None]]] = []
    running = 0
    try:
        while True:
            while idle and (point := study.ask()):
                one = try_point.with_options(task_run_name=plan.experiment(point))
                futures.append(
                    one.submit(plan, study, point, place=place, device=idle.pop(), ended=ended)
                )
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
