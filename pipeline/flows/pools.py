"""The trials of a sweep on workers of a Prefect work pool: sent, followed, sent again if lost."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import Any
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    WorkerFilter,
    WorkerFilterStatus,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType, WorkerStatus
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelling, Crashed

from pipeline.flows.remote import pull_for_sweep
from pipeline.flows.reproducing import GivenUpError
from pipeline.flows.server import reason, require_server
from pipeline.flows.signs import Sign, read_sign
from pipeline.flows.stages import OnEpoch
from pipeline.flows.trials import Plan, Run
from pipeline.harness.errors import RunError
from pipeline.running.experiments import reference
from pipeline.running.handing import Files, handed_out
from pipeline.running.repro import StoppedError
from pipeline.running.results import metrics_in
from pipeline.running.saved import Saved

TRIAL = "trial"
"""Name of the flow that workers run."""
LOOK_SECONDS = 1.0
"""Time between two looks at a trial in seconds."""
SILENT_SECONDS = {
    StateType.PENDING: 1800.0,
    StateType.RUNNING: 30.0,
    StateType.CANCELLING: 60.0,
}
"""Time in seconds without a sign of life after which a trial is lost, by its state.

A worker has half an hour to start one: it may fetch an image first. A running one gives a sign
every 5 s. In other states it waits for a worker, for as long as it takes.
"""
UNREACHABLE_SECONDS = 300.0
"""Time in seconds for which a server may not answer."""
TRIES = 4
"""Number of workers that may be tried before a trial has failed."""


class LostError(RunError):
    """A trial gives no sign of life, or its worker says that it crashed."""


def require_pool(name: str) -> UUID:
    """Return the deployment of `trial` in a work pool.

    Raises:
        RunError: there is no server, no such pool, or no such deployment in it.
    """
    require_server()
    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(name)
        except ObjectNotFound:
            raise RunError(
                f"pool {name}: the server has no such work pool;"
                f" 'prefect work-pool create --type process {name}' makes one"
            ) from None
        found = client.read_deployments(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[TRIAL])),
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[name])),
        )
    if not found:
        raise RunError(
            f"pool {name}: has no deployment of '{TRIAL}'; 'prefect --no-prompt deploy --all' makes"
            " those of prefect.yaml, which names their pools"
        )
    return found[0].id


@contextmanager
def in_pool(plan: Plan, name: str, deployment: UUID, *, hours: float | None) -> Iterator["Pool"]:
    """Yield a pool whose workers can get the files of a sweep while the block runs.

    Args:
        plan: plan of the sweep.
        name: name of the pool.
        deployment: its deployment of `trial`.
        hours: time limit of a stage in hours.

    Raises:
        RunError: `origin` does not take the files.
    """
    with handed_out(plan.tree, plan.name) as files:
        _warn_without_workers(name)
        yield Pool(
            tree=plan.tree, deployment=deployment, files=files, column=plan.column, hours=hours
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The workers of a work pool.

    files: files of the sweep, as `origin` has them. column: objective in the history of its stage.
    """

    tree: Path
    deployment: UUID
    files: Files
    column: str
    hours: float | None

    def run_trial(
        self, name: str, params: str, *, device: str, stop: Event, on_epoch: OnEpoch
    ) -> Run:
        """See `Place`; a worker chooses its device itself."""
        assert not device, "workers choose their devices"
        sign = self._run(name, params, None, stop=stop, on_epoch=on_epoch)
        pull_for_sweep(self.tree, reference(name, self.files.base))
        saved = Saved(name=name, revision=sign.revision, baseline=self.files.base)
        metrics = metrics_in(saved.texts(self.tree, "metrics.json"))
        return Run(metrics=metrics, states=sign.states, place=sign.place)

    def run_stages(self, name: str, params: str, stages: Sequence[str]) -> Mapping[str, str]:
        """See `Place`; other workers find the results in a cache that they share."""
        return self._run(name, params, list(stages), stop=Event(), on_epoch=lambda *_: False).states

    def _run(
        self,
        name: str,
        params: str,
        stages: list[str] | None,
        *,
        stop: Event,
        on_epoch: OnEpoch,
    ) -> Sign:
        """Send a trial to the pool until it ends on a worker that is not lost."""
        parameters = {
            "name": name,
            "files": asdict(self.files),
            "params": params,
            "column": self.column,
            "stages": stages,
            "stage_hours": self.hours,
        }
        for _ in range(TRIES):
            sent = run_deployment(
                self.deployment, parameters=parameters, flow_run_name=name, timeout=0
            )
            assert isinstance(sent, FlowRun)
            try:
                return _follow(sent.id, stop=stop, on_epoch=on_epoch)
            except LostError as error:
                get_run_logger().warning("%s: lost: %s", name, error)
        raise RunError(f"{name}: was sent {TRIES} times, and lost each time; see the workers' logs")


def _follow(flow_run: UUID, *, stop: Event, on_epoch: OnEpoch) -> Sign:
    """Follow a trial to its end, end it if it is stopped or given up, and return its last sign.

    Raises:
        LostError: it gave no sign of life, or crashed.
        RunError: it failed; StoppedError, GivenUpError: it was ended on purpose.
    """
    why: RunError | None = None
    known = 0
    with get_client(sync_client=True) as client:
        try:
            for state, sign in _looks(client, flow_run):
                if state.is_final():
                    break
                new, known = sign.epochs[known:], len(sign.epochs)
                if not why and any(on_epoch(TRIAL, row) for row in new):
                    why = GivenUpError("other trials were better")
                if not why and stop.is_set():
                    why = StoppedError("the sweep was stopped")
                if why and not state.is_cancelling():
                    _cancel(client, flow_run, str(why))
        except BaseException:  # the sweep itself ends
            _cancel(client, flow_run, "the sweep has ended")
            raise
    if state.is_completed():
        return sign
    if state.is_crashed():
        raise why or LostError(state.message or "crashed")
    if state.is_cancelled():
        raise why or StoppedError(state.message or "cancelled")
    raise RunError(f"{sign.place}: {state.message or 'failed'}")


def _looks(client: SyncPrefectClient, flow_run: UUID) -> Iterator[tuple[State[Any], Sign]]:
    """Yield the state of a trial and its last sign, again and again; mark it as crashed if lost.

    Raises:
        RunError: the server does not answer any more.
    """
    last, changed, reached = None, time.monotonic(), time.monotonic()
    while True:
        try:
            state = client.read_flow_run(flow_run).state
            assert state
            sign = read_sign(client, flow_run)
            reached = time.monotonic()
            if (state.type, sign.number) != last:
                last, changed = (state.type, sign.number), reached
            elif reached - changed > SILENT_SECONDS.get(state.type, float("inf")):
                message = f"no sign of life from {sign.place or 'its worker'}"
                client.set_flow_run_state(flow_run, Crashed(message=message), force=True)
        except httpx.HTTPError as error:
            last = None  # a trial that cannot reach the server is silent too
            if time.monotonic() - reached > UNREACHABLE_SECONDS:
                raise RunError(f"the Prefect server no longer answers ({reason(error)})") from None
        else:
            yield state, sign
        time.sleep(LOOK_SECONDS)


def _cancel(client: SyncPrefectClient, flow_run: UUID, why: str) -> None:
    with suppress(httpx.HTTPError):  # the next look tries it again
        client.set_flow_run_state(flow_run, Cancelling(message=why))


def _warn_without_workers(pool: str) -> None:
    online = WorkerFilter(status=WorkerFilterStatus(any_=[WorkerStatus.ONLINE]))
    with get_client(sync_client=True) as client:
        if not client.read_workers_for_work_pool(pool, worker_filter=online):
            get_run_logger().warning(
                "pool %s: no worker is online; 'prefect worker start --pool %s' starts one; the"
                " trials wait for it",
                pool,
                pool,
            )
