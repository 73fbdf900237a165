"""`aso-se serve`: deployments that this process runs, for people without a work pool."""

import asyncio
import logging
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import httpx
from prefect import Flow
from prefect.deployments.runner import RunnerDeployment
from prefect.runner import Runner
from prefect.schedules import Cron, Schedule
from prefect.types.entrypoint import EntrypointType

from pipeline.console.progress import say
from pipeline.flows import experiment, nightly, reproduce, sweep
from pipeline.flows.server import SECONDS_TO_ANSWER, address, answered, reason, require_server
from pipeline.harness.errors import RunError
from pipeline.running.graph import require_clone
from pipeline.running.redaction import hide

NAME = "local"
SECONDS_BETWEEN, TRIES = 3.0, 5
"""How often the server is asked whether it is there, and after how many failures it is lost.

Prefect itself gives up after three failures in about 30 s, with a page of tracebacks.
"""
OBSERVERS = (
    "prefect.FlowRunCancellingObserver",
    "prefect.FlowRunSuspendingObserver",
    "prefect.events.clients",
    "prefect.runner.event_emitter",
)
"""Loggers that report each failed connection, some with a traceback."""


def serve_flows(cron: str | None, timezone: str) -> None:
    """Serve the flows until interrupted: `nightly` on a schedule, all of them on demand.

    Args:
        cron: schedule of `nightly`, such as "0 2 * * *"; None for no schedule.
        timezone: time zone of `cron`, such as "Europe/Berlin".

    Raises:
        RunError: no server answers, or `cron` or `timezone` is not valid.
    """
    require_clone(Path.cwd())
    schedule = _schedule(cron, timezone) if cron else None
    require_server()
    for name in OBSERVERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    deployments = [
        _deployment(reproduce),
        _deployment(experiment),
        _deployment(sweep),
        _deployment(nightly, schedule),
    ]
    with answered():
        asyncio.run(_serve(deployments))


async def _serve(deployments: Sequence[RunnerDeployment]) -> None:
    """Serve until a signal; while the server is lost, wait for it."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def end(*_: object) -> None:
        loop.call_soon_threadsafe(stop.set)

    loop.add_signal_handler(signal.SIGINT, end)
    while (lost := await _serve_while_there(deployments, stop, end)) is not None:
        said = f"{hide(address())}: the Prefect server no longer answers ({lost})"
        say(f"{said}; its runs here are ended, and this waits for it, Ctrl-C ends this")
        loop.add_signal_handler(signal.SIGTERM, end)
        if not await _comes_back(stop):
            return
    say("stopped; the schedules are paused until the next 'aso-se serve'")


async def _serve_while_there(
    deployments: Sequence[RunnerDeployment], stop: asyncio.Event, end: Callable[..., None]
) -> str | None:
    """Run what the server asks for until a signal, or until the server is gone.

    end: what SIGTERM does.

    Returns:
        Why the server is gone; None after a signal.
    """
    runner = Runner(pause_on_shutdown=True)
    try:
        for deployment in deployments:
            await runner.aadd_deployment(deployment)
    except httpx.TransportError as error:  # it has just come up, or is going down
        return reason(error)
    names = ", ".join(f"{one.flow_name}/{one.name}" for one in deployments)
    say(f"serving {names}; 'prefect deployment run NAME' starts one, Ctrl-C ends this")
    # Prefect takes SIGTERM for itself, and its answer to it forgets to await what it calls.
    runner.handle_sigterm = end  # type: ignore[method-assign]
    serving, stopped = asyncio.create_task(runner.start()), asyncio.create_task(stop.wait())
    lost = asyncio.create_task(_lost())
    await asyncio.wait({serving, stopped, lost}, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        await serving
    logging.disable(logging.CRITICAL)
    runner.pause_on_shutdown = not lost.done()  # a server that is gone cannot pause anything
    for task in (serving, stopped, lost):
        task.cancel()
    await asyncio.wait({serving})
    logging.disable(logging.NOTSET)
    return lost.result() if lost.done() and not lost.cancelled() else None


async def _comes_back(stop: asyncio.Event) -> bool:
    """Wait until the server answers again; return whether it did before a signal."""
    while not stop.is_set():
        with suppress(httpx.HTTPError):
            await _ask()
            return True
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), SECONDS_BETWEEN)
    return False


async def _ask() -> None:
    """Raise httpx.HTTPError unless the server answers."""
    async with httpx.AsyncClient(timeout=SECONDS_TO_ANSWER) as client:
        (await client.get(f"{address()}/health")).raise_for_status()


async def _lost() -> str:
    """Return why the server has not answered `TRIES` times in a row, as soon as it has not."""
    failed = 0
    while True:
        await asyncio.sleep(SECONDS_BETWEEN)
        try:
            await _ask()
            failed = 0
        except httpx.HTTPError as error:
            failed += 1
            if failed == TRIES:
                return reason(error)


def _schedule(cron: str, timezone: str) -> Schedule:
    try:
        ZoneInfo(timezone)
        return Cron(cron, timezone=timezone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise RunError(f"--cron {cron!r} --timezone {timezone}: {error}") from None


def _deployment(flow: Flow[..., Any], schedule: Schedule | None = None) -> RunnerDeployment:
    """Return a deployment that names its flow by module, so that runs start in any directory."""
    made = flow.to_deployment(NAME, schedule=schedule, entrypoint_type=EntrypointType.MODULE_PATH)
    assert isinstance(made, RunnerDeployment)
    return made
