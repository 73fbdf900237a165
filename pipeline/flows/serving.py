"""`aso-se serve`: deployments that this process runs, for people without a work pool."""

from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import httpx
from prefect import Flow, serve
from prefect.deployments.runner import RunnerDeployment
from prefect.schedules import Cron, Schedule
from prefect.settings import PREFECT_API_URL
from prefect.types.entrypoint import EntrypointType

from pipeline.flows import experiment, nightly, reproduce, sweep
from pipeline.harness.errors import RunError
from pipeline.running.front import require_clone
from pipeline.running.redaction import hide

NAME = "local"
SECONDS_TO_ANSWER = 10.0


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
    serve(
        _deployment(reproduce),
        _deployment(experiment),
        _deployment(sweep),
        _deployment(nightly, schedule),
    )


def require_server() -> None:
    """Raise RunError unless a Prefect server answers."""
    url = (PREFECT_API_URL.value() or "").rstrip("/")
    start = "start one with 'prefect server start'"
    if not url:
        raise RunError(
            f"PREFECT_API_URL: not set; {start} and export"
            " PREFECT_API_URL=http://127.0.0.1:4200/api"
        )
    try:
        httpx.get(f"{url}/health", timeout=SECONDS_TO_ANSWER).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise RunError(
            f"{hide(url)}: no Prefect server answers ({hide(reason)}); {start}, or run without"
            " Prefect: 'dvc repro'"
        ) from None


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
