"""Runs of MLflow beside the histories, if the environment asks for them.

Each stage of a tree is a run with the tree's params. Its number lies beside the stage's progress
file: a stage that goes on after a kill goes on in the same run. A server that goes away while a
stage trains does not end it; the epochs that it missed are sent with the next one.
"""

import fcntl
import hashlib
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline.harness.errors import RunError
from pipeline.harness.files import write_atomically
from pipeline.harness.params_file import PARAMS_FILE
from pipeline.harness.places import PROGRESS
from pipeline.harness.plain_yaml import plain_values, short
from pipeline.harness.ranks import is_first
from pipeline.harness.records import Row

TRACKING = "ASO_SE_MLFLOW"
"""Variable with the address of MLflow's server, such as http://127.0.0.1:5000, or database."""

EXPERIMENT = "MLFLOW_EXPERIMENT_NAME"
"""MLflow's own variable; without it, the experiment is called aso-se."""

DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # seven take minutes, in which nothing trains
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""MLflow's variables with what they are here, unless the environment sets them."""

PARAMS_AT_ONCE = 100
"""Largest number of params that MLflow takes in one request."""


@contextmanager
def tracked(
    name: str, *, before: Sequence[Row], tell: Callable[[str], None]
) -> Iterator[Callable[[Row], None]]:
    """Yield a function that sends the numbers of an epoch's row to MLflow.

    name: of the stage. before: rows of the epochs that an interrupted run finished. tell: function
    that prints a line.

    Raises:
        RunError: the extra `mlflow` is not installed, or nothing answers when the stage begins.
    """
    address = os.environ.get(TRACKING)
    if not address or not is_first():
        yield lambda _: None
        return
    for variable, value in DEFAULTS.items():
        os.environ.setdefault(variable, value)
    try:
        mlflow = import_module("mlflow")
    except ImportError:
        raise RunError(
            f"{TRACKING}: mlflow-skinny is not installed; run 'make install', or unset the variable"
        ) from None
    try:
        run = _Run.begun(mlflow, address, name, before, tell)
    except _refusals(mlflow) as error:
        raise RunError(
            f"{TRACKING}: {_hidden(address, address)} takes no run ({_words(error, address)});"
            " start MLflow there, or unset the variable"
        ) from None
    try:
        yield run.log
    except BaseException:
        run.end("FAILED")
        raise
    run.end("FINISHED")


@dataclass(kw_only=True, slots=True)
class _Run:
    """A run of MLflow that takes rows.

    waiting: rows that MLflow does not have yet. silent: whether the last attempt to send failed.
    """

    mlflow: Any
    client: Any
    address: str
    number: str
    name: str
    tell: Callable[[str], None]
    waiting: list[Row] = field(default_factory=list)
    silent: bool = False

    @classmethod
    def begun(
        cls,
        mlflow: Any,
        address: str,
        name: str,
        before: Sequence[Row],
        tell: Callable[[str], None],
    ) -> "_Run":
        """Return a new run, or the one in which these epochs were sent, if MLflow still has it."""
        client = _client(mlflow, address)
        noted = PROGRESS / f"{name}.mlflow"
        number = noted.read_text(encoding="utf-8") if before and noted.is_file() else ""
        sent: set[int] = set()
        with suppress(mlflow.exceptions.MlflowException):  # unknown there, or deleted
            if number:
                client.update_run(number, status="RUNNING")
                sent = {one.step for one in client.get_metric_history(number, "epoch")}
        if not sent:
            number = client.create_run(
                _experiment(client, mlflow), run_name=f"{Path.cwd().name}/{name}"
            ).info.run_id
            _log_params(client, mlflow, number)
            noted.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(noted, number.encode())
        run = cls(
            mlflow=mlflow, client=client, address=address, number=number, name=name, tell=tell
        )
        run.waiting = [row for row in before if int(row["epoch"]) not in sent]
        return run

    def log(self, row: Row) -> None:
        """Send a row, and before it those that could not be sent."""
        self.waiting.append(row)
        try:
            self._send()
            self.silent = False
        except self.mlflow.exceptions.MlflowException as error:
            if not self.silent:
                reason = _words(error, self.address)
                self.tell(f"{self.name}: MLflow gets this epoch later, if at all ({reason})")
            self.silent = True

    def end(self, status: str) -> None:
        """Send what is left and how the stage ended; say which epochs MLflow lacks."""
        try:
            self._send()
            self.client.set_terminated(self.number, status)
        except self.mlflow.exceptions.MlflowException as error:
            reason = _words(error, self.address)
            self.tell(f"{self.name}: MLflow was not told the end ({reason})")
        if self.waiting:
            epochs = f"from {self.waiting[0]['epoch']} to {self.waiting[-1]['epoch']}"
            self.tell(f"{self.name}: MLflow lacks the epochs {epochs}")

    def _send(self) -> None:
        while self.waiting:
            self.client.log_batch(self.number, metrics=self._metrics(self.waiting[0]))
            del self.waiting[0]

    def _metrics(self, row: Row) -> list[Any]:
        now = time.time_ns() // 1_000_000
        return [
            self.mlflow.entities.Metric(column, float(value), now, int(row["epoch"]))
            for column, value in row.items()
            if not isinstance(value, str)
        ]


def _client(mlflow: Any, address: str) -> Any:
    """Return a client; of the processes of this user, only one at a time lays out a database."""
    name = hashlib.sha256(f"{os.getuid()} {address}".encode()).hexdigest()[:16]
    with (Path(tempfile.gettempdir()) / f"aso-se-mlflow-{name}").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return mlflow.MlflowClient(address)


def _refusals(mlflow: Any) -> tuple[type[Exception], ...]:
    """Return the classes of errors that begin no run: MLflow's, and those of its databases."""
    databases = sys.modules.get("sqlalchemy.exc")
    found = [databases.SQLAlchemyError] if databases else []
    return (mlflow.exceptions.MlflowException, ImportError, *found)


def _experiment(client: Any, mlflow: Any) -> str:
    """Return the number of the experiment, which another process may make at the same time."""
    name = os.environ.get(EXPERIMENT) or "aso-se"
    found = client.get_experiment_by_name(name)
    if not found:
        try:
            return str(client.create_experiment(name))
        except mlflow.exceptions.MlflowException:
            found = client.get_experiment_by_name(name)
            if not found:
                raise
    return str(found.experiment_id)


def _log_params(client: Any, mlflow: Any, number: str) -> None:
    """Note all params of the tree in a run, as `section.name`."""
    if not PARAMS_FILE.is_file():
        return
    named: dict[str, Any] = {}
    document = plain_values(PARAMS_FILE.read_text(encoding="utf-8"), str(PARAMS_FILE))
    for section, values in document.items():
        keyed = values.items() if isinstance(values, dict) else ()
        named |= {f"{section}.{key}": value for key, value in keyed} or {section: values}
    params = [mlflow.entities.Param(key, str(value)) for key, value in named.items()]
    for first in range(0, len(params), PARAMS_AT_ONCE):
        client.log_batch(number, params=params[first : first + PARAMS_AT_ONCE])


def _words(error: Exception, address: str) -> str:
    """Return what MLflow says: of a lost connection the innermost reason, else the first line."""
    line = _hidden(str(error).strip().partition("\n")[0], address)
    reason = re.search(r"Caused by .*: ([^:]+?)[\"')]*$", line)
    return short(reason[1] if reason else line)


def _hidden(text: str, address: str) -> str:
    """Return a text without the user, the password and the query of the address."""
    parts = urlsplit(address)
    for secret in (parts.netloc.rpartition("@")[0], parts.query):
        text = text.replace(secret, "***") if secret else text
    return text
