"""What a trial on a worker tells its sweep: signs of life, its epochs, and how its stages ended.

It is one artifact of the trial's flow run, so that Prefect's server is all that both must reach.
"""

import contextvars
import json
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Self
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
)
from prefect.exceptions import ObjectNotFound

SIGN_SECONDS = 5.0
"""Time between two signs of life in seconds."""
KEY = "trial"
"""Key of the artifact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """What is known of a trial on a worker.

    number: number of signs of life so far. place: machine and clone. epochs: for each epoch, its
    number and the objective, as in the history. states: how its stages ended, by name. revision:
    commit of its experiment. Both are empty before its end.
    """

    number: int = 0
    place: str = ""
    epochs: list[dict[str, str]] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    revision: str = ""


class Telling:
    """Tells what a flow run does, from a thread, as long as the block lasts.

    stop: event that is set when the flow run is cancelled, declared lost, or deleted.
    """

    def __init__(self, flow_run: UUID, tree: Path, column: str) -> None:
        """Prepare to tell of a flow run in a clone. column: objective in the history of a stage."""
        self.stop = Event()
        self._flow_run = flow_run
        self._column = column
        self._sign = Sign(place=f"{socket.gethostname()}:{tree}")
        self._number = 0
        self._ended = Event()

    def __enter__(self) -> Self:
        """Give the first sign of life."""
        self._client = get_client(sync_client=True)
        self._client.__enter__()
        made = ArtifactCreate(key=KEY, type="table", flow_run_id=self._flow_run, data=self._data())
        self._artifact = self._client.create_artifact(made).id
        context = contextvars.copy_context()  # Prefect's settings
        self._thread = Thread(target=context.run, args=(self._tell_on,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Tell how the block ended."""
        self._ended.set()
        self._thread.join()
        if kind is None:
            self._tell()
        self._client.__exit__(kind, error, trace)

    def epoch(self, _: str, row: Mapping[str, str]) -> bool:
        """Note a row of a history; return False: the sweep decides whether to go on."""
        if value := row.get(self._column):
            self._sign.epochs.append({"epoch": row["epoch"], self._column: value})
        return False

    def ended(self, states: Mapping[str, str], revision: str = "") -> None:
        """Note how the stages ended, and the commit of the experiment, if one was saved."""
        self._sign = replace(self._sign, states=dict(states), revision=revision)

    def _tell_on(self) -> None:
        while not self._ended.wait(SIGN_SECONDS):
            try:
                state = self._client.read_flow_run(self._flow_run).state
                if state is None or state.is_cancelling() or state.is_final():
                    self.stop.set()
                self._tell()
            except ObjectNotFound:
                self.stop.set()
            except httpx.HTTPError:
                continue  # the next sign may reach the server

    def _tell(self) -> None:
        self._number += 1
        self._client.update_artifact(self._artifact, ArtifactUpdate(data=self._data()))

    def _data(self) -> str:
        return json.dumps([{**asdict(self._sign), "number": self._number}])


def read_sign(client: SyncPrefectClient, flow_run: UUID) -> Sign:
    """Return the last sign of a flow run; one with the number -1 if it has given none."""
    found = client.read_artifacts(
        artifact_filter=ArtifactFilter(
            key=ArtifactFilterKey(any_=[KEY]),
            flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run]),
        )
    )
    return Sign(**json.loads(str(found[0].data))[0]) if found else Sign(number=-1)
