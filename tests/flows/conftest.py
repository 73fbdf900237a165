"""A real Prefect server of its own for the tests of flows, on this machine only."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import State
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from tests.ports import free_port


class Server:
    """Access to what a Prefect server stores about flow runs."""

    def __init__(self, client: SyncPrefectClient) -> None:
        self.client = client

    def states(self, state: State[Any], expected: int) -> dict[str, str]:
        """Return the state of each task of a flow run, after `expected` tasks have ended."""
        chosen = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_of(state)]))
        until = time.monotonic() + 20
        while True:
            runs = self.client.read_task_runs(flow_run_filter=chosen)
            final = [run for run in runs if run.state and run.state.is_final()]
            ended = {run.name: str(run.state_name) for run in final}
            if len(ended) >= expected or time.monotonic() > until:
                return ended
            time.sleep(0.1)

    def artifact(self, key: str) -> Any:
        """Return the newest artifact with a key: a table as rows, other artifacts unchanged."""
        found = self.client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
        )
        newest = max(found, key=lambda artifact: str(artifact.created))
        return json.loads(str(newest.data)) if newest.type == "table" else newest.data

    def log(self, state: State[Any], expected: str) -> str:
        """Return the log of a flow run; wait until `expected` is in it."""
        chosen = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_of(state)]))
        until = time.monotonic() + 20
        while True:
            lines = self.client.read_logs(chosen)
            text = "\n".join(f"{line.level} {line.message}" for line in lines)
            if expected in text or time.monotonic() > until:
                return text
            time.sleep(0.1)


def flow_run_of(state: State[Any]) -> UUID:
    assert state.state_details.flow_run_id
    return state.state_details.flow_run_id


def kill_all(process: "subprocess.Popen[str]") -> None:
    """Kill a process and all its descendants, as a machine does that goes down."""
    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    process.kill()
    for one in family:
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait()


@contextmanager
def whole_server(home: Path) -> Iterator[SyncPrefectClient]:
    """Yield a client of a whole Prefect server, scheduler included, in its own process.

    In the block it is the server of this process.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    process = subprocess.Popen(
        [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)],
        env={**os.environ, "PREFECT_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        with temporary_settings({PREFECT_API_URL: url}), get_client(sync_client=True) as client:
            until = time.monotonic() + 120
            while client.api_healthcheck():
                assert time.monotonic() < until
                time.sleep(0.5)
            yield client
            APILogWorker.drain_all(timeout=20)  # else they look for the server until Python ends
            EventsWorker.drain_all(timeout=20)
    finally:
        kill_all(process)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with prefect_test_harness(server_startup_timeout=120), get_client(sync_client=True) as client:
        yield Server(client)
