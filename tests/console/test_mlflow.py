"""Runs of MLflow, read back by its own client from its own database and server."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from mlflow import MlflowClient

from pipeline.console.mlflow_run import DEFAULTS, TRACKING
from pipeline.console.progress import watch
from pipeline.harness.errors import RunError
from pipeline.harness.records import Row
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
ROWS: list[Row] = [
    {"epoch": epoch, "train_loss": 1 / epoch, "verdict": "healthy"} for epoch in (13, 14, 15)
]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database without a run; to lay out its tables takes seconds."""
    path = tmp_path_factory.mktemp("mlflow") / "empty.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def database(tmp_path: Path, empty: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The database that the environment names; the current folder is a tree beside it."""
    address = f"sqlite:///{shutil.copy(empty, tmp_path / 'runs.db')}"
    (tmp_path / "tree").mkdir()
    monkeypatch.chdir(tmp_path / "tree")
    monkeypatch.setenv(TRACKING, address)
    for variable, value in DEFAULTS.items():  # watch sets those that are missing
        monkeypatch.setenv(variable, value)
    return address


def followed(rows: list[Row], before: list[Row]) -> None:
    watch(iter(rows), before=before, name="search", epochs=3, images=10)


def runs(address: str, experiment: str = "aso-se") -> list[Any]:
    """Return the runs of an experiment, the oldest first."""
    client = MlflowClient(address)
    made = client.get_experiment_by_name(experiment)
    return client.search_runs([made.experiment_id], order_by=["attributes.start_time ASC"])


def losses(address: str, run: Any) -> dict[int, float]:
    history = MlflowClient(address).get_metric_history(run.info.run_id, "train_loss")
    assert len({point.step for point in history}) == len(history)
    return {point.step: point.value for point in history}


def test_the_numbers_of_each_epoch_and_all_params_are_in_a_run_of_the_stage(database: str) -> None:
    params = "seed: 42\nsearch:\n  epochs: 3\n  stop_skips:\nmany:\n" + "".join(
        f"  key_{number}: {number}\n" for number in range(150)
    )
    Path("params.yaml").write_text(params)
    followed(ROWS, [])
    (run,) = runs(database)
    assert run.info.run_name == "tree/search"
    assert run.info.status == "FINISHED"
    assert losses(database, run) == {row["epoch"]: row["train_loss"] for row in ROWS}
    assert run.data.metrics["seconds"] >= 0
    assert "verdict" not in run.data.metrics
    assert run.data.params.items() >= {
        ("seed", "42"),
        ("search.epochs", "3"),
        ("search.stop_skips", "None"),
        ("many.key_149", "149"),
    }


def test_a_stage_that_goes_on_does_so_in_its_run(database: str) -> None:
    def broken() -> Iterator[Row]:
        yield from ROWS[:2]
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        watch(broken(), name="search", epochs=3, images=10)
    (run,) = runs(database)
    assert run.info.status == "FAILED"
    followed(ROWS[2:], ROWS[:2])
    (run,) = runs(database)
    assert run.info.status == "FINISHED"
    assert losses(database, run).keys() == {13, 14, 15}
    followed(ROWS, [])
    assert len(runs(database)) == 2


def test_what_a_killed_stage_could_not_send_is_sent_even_if_no_epoch_is_left(
    database: str,
) -> None:
    followed(ROWS[:2], [])
    followed([], ROWS)
    (run,) = runs(database)
    assert losses(database, run).keys() == {13, 14, 15}


def test_a_password_in_the_address_shows_nowhere(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    for scheme in ("http", "nowhere", "postgresql"):
        monkeypatch.setenv(TRACKING, f"{scheme}://me:secret@127.0.0.1:{port}/?token=secret")
        with pytest.raises(RunError, match=rf"{scheme}://\*\*\*@127.0.0.1:{port}/") as raised:
            followed(ROWS, [])
        assert "secret" not in str(raised.value)


@pytest.mark.parametrize("known", ["deleted", "elsewhere"])
def test_a_stage_that_goes_on_where_its_run_is_unknown_sends_all_epochs(
    database: str, empty: Path, known: str
) -> None:
    followed(ROWS[:2], [])
    if known == "deleted":
        MlflowClient(database).delete_run(runs(database)[0].info.run_id)
    else:
        shutil.copy(empty, database.removeprefix("sqlite:///"))
    followed(ROWS[2:], ROWS[:2])
    (run,) = runs(database)
    assert losses(database, run).keys() == {13, 14, 15}


def test_mlflows_own_variable_names_the_experiment(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    followed(ROWS, [])
    assert len(runs(database, "mine")) == 1


def test_a_server_that_goes_away_meanwhile_gets_the_epochs_when_it_is_back(
    database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    monkeypatch.setenv(TRACKING, address)

    def rows() -> Iterator[Row]:
        yield ROWS[0]
        stop(server)
        yield ROWS[1]
        yield {**ROWS[1], "epoch": 15}
        servers.append(serve(port, database))
        yield {**ROWS[2], "epoch": 16}

    server = serve(port, database)
    servers = [server]
    try:
        watch(rows(), name="search", epochs=4, images=10)
    finally:
        for one in servers:
            stop(one)
    (run,) = runs(database)
    assert losses(database, run).keys() == {13, 14, 15, 16}
    assert run.info.status == "FINISHED"
    told = [line for line in capsys.readouterr().out.splitlines() if "MLflow" in line]
    assert len(told) == 1
    assert told[0].startswith("search: MLflow gets this epoch later, if at all (")
    assert told[0].endswith("Connection refused)")


def test_what_a_server_never_got_is_told_at_the_end(
    database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    monkeypatch.setenv(TRACKING, f"http://127.0.0.1:{port}")

    def rows() -> Iterator[Row]:
        yield ROWS[0]
        stop(server)
        yield from ROWS[1:]

    server = serve(port, database)
    try:
        watch(rows(), name="search", epochs=3, images=10)
    finally:
        stop(server)
    last, before = capsys.readouterr().out.splitlines()[:-3:-1]
    assert before.startswith("search: MLflow was not told the end (")
    assert last == "search: MLflow lacks the epochs from 14 to 15"


def test_without_the_variable_nothing_is_imported(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TRACKING)
    followed(ROWS, [])
    assert MlflowClient(database).get_experiment_by_name("aso-se") is None
    program = "import sys, stages.search; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_stages_that_begin_at_once_share_a_database_that_is_new(tmp_path: Path) -> None:
    program = (
        "from pipeline.console.progress import watch\n"
        "watch(iter([{'epoch': 1}]), name='search', epochs=1, images=1)\n"
    )
    address = f"sqlite:///{tmp_path / 'runs.db'}"
    environment = {**os.environ, TRACKING: address, "PYTHONPATH": str(ROOT)}
    stages = [
        subprocess.Popen([sys.executable, "-c", program], env=environment, cwd=tmp_path)
        for _ in range(2)
    ]
    assert [stage.wait() for stage in stages] == [0, 0]
    assert [run.info.status for run in runs(address)] == ["FINISHED"] * 2


def test_where_no_run_can_begin_the_line_names_the_variable(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for address, reason in (
        (f"http://127.0.0.1:{free_port()}", "Connection refused"),
        ("nowhere://", "unsupported URI"),
        ("runs", "maintenance mode"),
        (f"sqlite:///{__file__}", "not a database"),
        ("postgresql://127.0.0.1/runs", "No module named"),
    ):
        monkeypatch.setenv(TRACKING, address)
        line = (
            rf"^{TRACKING}: {address} takes no run \(.*{reason}.*\); start MLflow there, or unset"
        )
        with pytest.raises(RunError, match=line):
            followed(ROWS, [])
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(RunError, match=rf"^{TRACKING}: mlflow-skinny is not installed; "):
        followed(ROWS, [])


def serve(port: int, database: str) -> subprocess.Popen[bytes]:
    """Serve the database by MLflow's own application; its command needs packages of no use here."""
    program = f"from mlflow.server import app; app.run(port={port})"
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env=os.environ
        | {"_MLFLOW_SERVER_FILE_STORE": database, "_MLFLOW_SERVER_ARTIFACT_ROOT": "artifacts"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 180
    while not answers(port):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.1)
    return process


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health").is_success
    except httpx.TransportError:
        return False


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
