"""Whole processes: a flow that is ended from outside, a server with its scheduler, the commands."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelling

from pipeline.__main__ import main
from tests.flows.conftest import Server, whole_server
from tests.running.test_repro import processes_of
from tests.toy import Toy, behave

pytestmark = pytest.mark.xdist_group("toy")
ROOT = Path(__file__).resolve().parents[2]
REPRODUCE = "from pipeline.flows import reproduce; reproduce(return_state=True)"
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(toy: Toy) -> Iterator[Start]:
    """Start a command in the toy project; it is killed at the end of the test."""
    started = []

    def begin(*command: str, **environment: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, *command],
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "PREFECT_API_URL": PREFECT_API_URL.value() or "",
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()  # not read to its end: a child of the killed may have it too


def read_until(process: "subprocess.Popen[str]", text: str) -> str:
    """Return the first line with a text; none before it may be of a traceback."""
    assert process.stdout
    lines = []
    while text not in (line := process.stdout.readline()):
        lines.append(line)
        assert line, "".join(lines)
        assert "Traceback" not in line, line
    return line


def seconds_until_gone(toy: Toy, most: float) -> float:
    began = time.monotonic()
    while left := processes_of(toy):
        assert time.monotonic() - began < most, left
        time.sleep(0.05)
    return time.monotonic() - began


def test_a_cancelled_flow_leaves_no_process_and_a_resume_point(
    server: Server, toy: Toy, start: Start
) -> None:
    toy.edit("arch_update_freq: 5", "arch_update_freq: 3")
    flow = start("-c", REPRODUCE, TOY=behave(search={"seconds": 60}))
    read_until(flow, "search 1/2")
    flow.send_signal(signal.SIGTERM)  # what a worker does when a run is cancelled
    seconds_until_gone(toy, 10)
    assert Path(f"{toy.log}.resume").read_text() == "search"


def test_the_second_run_in_a_tree_waits_for_the_first_and_says_who_it_is(
    server: Server, toy: Toy, start: Start
) -> None:
    toy.edit("arch_update_freq: 5", "arch_update_freq: 3")
    first = start("-c", REPRODUCE, TOY=behave(search={"seconds": 4}))
    read_until(first, "search 1/2")
    second = start("-c", REPRODUCE)
    line = read_until(second, "waiting: this is held by")
    assert re.search(rf"flow run '[\w-]+' \(pid {first.pid} on ", line)
    read_until(second, "Finished in state Cached('search: cached'")
    assert toy.ran() == ["search", "export"]


def test_serving_without_a_server_is_one_clear_line(toy: Toy, start: Start) -> None:
    process = start("-m", "pipeline", "serve", PREFECT_API_URL="http://127.0.0.1:9/api")
    output, _ = process.communicate()
    assert process.returncode == 1
    assert output.startswith("http://127.0.0.1:9/api: no Prefect server answers")
    assert "'dvc repro'" in output
    assert output.count("\n") == 1


class Refusing(BaseHTTPRequestHandler):
    """A server that wants a password that it does not get."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.mark.parametrize("command", [["serve"], ["sweep", "search.epochs=1,2"]])
def test_the_password_in_the_address_of_a_server_never_shows(
    toy: Toy, start: Start, command: list[str]
) -> None:
    with HTTPServer(("127.0.0.1", 0), Refusing) as refusing:
        Thread(target=refusing.serve_forever, daemon=True).start()
        url = f"http://bob:CANARY12@127.0.0.1:{refusing.server_port}/api"
        output, _ = start("-m", "pipeline", *command, PREFECT_API_URL=url).communicate()
        refusing.shutdown()
    assert output.startswith(f"http://***@127.0.0.1:{refusing.server_port}/api: no Prefect server")
    assert "CANARY12" not in output
    assert output.count("\n") == 1


@pytest.mark.parametrize(
    "schedule", [["--cron", "0 25 * * *"], ["--cron", "0 2 * * *", "--timezone", "Mars"]]
)
def test_a_schedule_that_cannot_be_is_refused(start: Start, schedule: list[str]) -> None:
    process = start("-m", "pipeline", "serve", *schedule)
    output, _ = process.communicate()
    assert (process.returncode, output.count("\n")) == (1, 1)
    assert output.startswith("--cron ")


def test_a_sweep_from_the_command_line_prints_its_ranking(
    server: Server, toy: Toy, start: Start
) -> None:
    words = ["search.arch_update_freq=3,5", "--objective", "search.validation_accuracy"]
    process = start("-m", "pipeline", "sweep", *words, "--name", "grid", COLUMNS="120")
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert re.search(r"1 +│ grid-01 +│ 1 +│ Completed +│ 5", output)
    assert re.search(r"2 +│ grid-00 +│ 0.8 +│ Completed +│ 3", output)
    assert output.endswith("stages that ran in completed experiments: search 1, export 1\n")


Refused = Callable[..., tuple[object, list[str]]]


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Run a command that ends at once; return its exit code and the lines on stderr."""

    def refused(*words: str) -> tuple[object, list[str]]:
        monkeypatch.setattr(sys, "argv", ["aso-se", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, capsys.readouterr().err.splitlines()

    return refused


FORM = "expected KEY=VALUE,VALUE,... or KEY=LOW..HIGH, LOW below HIGH"


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["search.arch_update_freq"], 1, f"search.arch_update_freq: {FORM}"),
        (["search.arch_reach=8..2", "--trials", "2"], 1, f"search.arch_reach=8..2: {FORM}"),
        (
            ["search.arch_reach=2.0..8.0"],
            1,
            "search.arch_reach: a range needs a number of trials (--trials N)",
        ),
        (
            ["arch_reach=3"],
            1,
            (
                "params.yaml with arch_reach=3: arch_reach: unknown key; did you mean"
                " 'search.arch_reach'?"
            ),
        ),
        (
            ["search.epochs=3", "--objective", "search.vallidation_accuracy"],
            1,
            (
                "search.vallidation_accuracy: no such metric; did you mean"
                " 'search.validation_accuracy'?"
            ),
        ),
        (["search.epochs=3", "--trials", "0"], 2, "Error: Invalid value for '--trials': "),
        (["search.epochs=3", "--trials", "2.5"], 2, "Error: Invalid value for '--trials': "),
        (["search.epochs=3", "--max-parallel", "-2"], 2, "Error: Invalid value for '--max-par"),
    ],
)
def test_a_mistake_in_a_sweep_is_told_before_prefect_starts(
    toy: Toy, refused: Refused, words: list[str], code: int, line: str
) -> None:
    ended, lines = refused("sweep", *words)
    assert ended == code
    assert lines[-1].startswith(line)
    assert code == 2 or lines == [line]
    assert toy.ran() == []


@pytest.mark.parametrize("command", [["sweep", "search.epochs=1,2"], ["serve"]])
def test_outside_a_clone_neither_sweep_nor_serve_begins(
    command: list[str], refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = f"{tmp_path}: holds no dvc.yaml; run this in a clone of the project"
    assert refused(*command) == (1, [line])
    below = tmp_path / "below"
    below.mkdir()
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(below)
    assert refused(*command) == (1, [f"{below}: holds no dvc.yaml; run this in {tmp_path}"])


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SyncPrefectClient]:
    with whole_server(tmp_path_factory.mktemp("server")) as client:
        yield client


@pytest.fixture
def scheduler(standing: SyncPrefectClient) -> Iterator[SyncPrefectClient]:
    """A whole server; what a test leaves on it is deleted."""
    yield standing
    for deployment in standing.read_deployments():
        standing.delete_deployment(deployment.id)
    for run in standing.read_flow_runs():
        standing.delete_flow_run(run.id)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serving_ends_at_a_signal_with_one_line_and_paused_schedules(
    toy: Toy, start: Start, scheduler: SyncPrefectClient, number: signal.Signals
) -> None:
    words = ("-m", "pipeline", "serve", "--cron", "0 2 * * *")
    serving = start(*words, PREFECT_API_URL=str(scheduler.api_url))
    read_until(serving, "nightly/local")
    time.sleep(3)  # until it polls
    serving.send_signal(number)
    output, _ = serving.communicate()
    assert (serving.returncode, output) == (
        0,
        "stopped; the schedules are paused until the next 'aso-se serve'\n",
    )
    assert scheduler.read_deployment_by_name("nightly/local").paused


def kill_server(toy: Toy, port: str) -> None:
    """Kill the server, but not what serves: that has its address in the environment."""
    for pid, command in processes_of(toy).items():
        if port in command:
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def mortal(toy: Toy, tmp_path: Path) -> Iterator[SyncPrefectClient]:
    """A server that works in the toy project, so that `processes_of` finds it."""
    with whole_server(tmp_path / "prefect") as client:
        yield client


def test_a_server_that_is_lost_while_serving_is_one_line_and_is_waited_for(
    toy: Toy, start: Start, mortal: SyncPrefectClient, tmp_path: Path
) -> None:
    url = str(mortal.api_url).rstrip("/").replace("//", "//bob:CANARY12@")
    port = url.rpartition(":")[2].partition("/")[0]
    serving = start("-m", "pipeline", "serve", PREFECT_API_URL=url)
    read_until(serving, "nightly/local")
    kill_server(toy, port)
    lost = read_until(serving, "")
    assert ": the Prefect server no longer answers (" in lost
    assert lost.endswith("; its runs here are ended, and this waits for it, Ctrl-C ends this\n")
    start(
        *("-m", "prefect", "server", "start", "--port", port),
        PREFECT_HOME=str(tmp_path / "prefect"),
    )
    back = read_until(serving, "")
    assert back.startswith("serving reproduce/local, ")
    made = mortal.create_flow_run_from_deployment(
        mortal.read_deployment_by_name("reproduce/local").id
    )
    runs_in_state(mortal, "Completed")
    assert mortal.read_flow_run(made.id).state_name == "Completed"
    while psutil.Process(serving.pid).children():  # the run's process has still to say so
        time.sleep(0.1)
    kill_server(toy, port)
    read_until(serving, "this waits for it")
    serving.send_signal(signal.SIGTERM)
    output, _ = serving.communicate()
    assert (serving.returncode, output) == (0, "")
    assert "CANARY12" not in lost + back


def test_a_mistake_in_a_parameter_is_one_line_in_the_log(
    toy: Toy, start: Start, scheduler: SyncPrefectClient
) -> None:
    serving = start("-m", "pipeline", "serve", PREFECT_API_URL=str(scheduler.api_url))
    read_until(serving, "nightly/local")
    scheduler.create_flow_run_from_deployment(
        scheduler.read_deployment_by_name("reproduce/local").id,
        parameters={"overrides": {"search.epohcs": 3}},
    )
    [failed] = runs_in_state(scheduler, "Failed")
    time.sleep(3)  # in which Prefect would say more
    serving.send_signal(signal.SIGINT)
    output, _ = serving.communicate()
    told = "search.epohcs: unknown key"
    assert failed.state
    assert told in str(failed.state.message)
    assert output.count(told) == 1
    assert "Traceback" not in output
    assert toy.ran() == []


def runs_in_state(client: SyncPrefectClient, state: str) -> list[FlowRun]:
    """Wait for a flow run in a state; return all of them."""
    until = time.monotonic() + 120
    while True:
        if found := [run for run in client.read_flow_runs() if run.state_name == state]:
            return found
        assert time.monotonic() < until
        time.sleep(0.2)


def test_a_scheduled_run_starts_by_itself_and_one_that_is_cancelled_leaves_nothing(
    toy: Toy, start: Start, scheduler: SyncPrefectClient
) -> None:
    serving = start(
        *("-m", "pipeline", "serve", "--cron", "0 2 * * *", "--timezone", "Europe/Berlin"),
        PREFECT_API_URL=str(scheduler.api_url),
        TOY=behave(search={"seconds": 60}),
    )
    read_until(serving, "nightly/local")
    nightly = scheduler.read_deployment_by_name("nightly/local")
    (schedule,) = nightly.schedules
    assert schedule.schedule == CronSchedule(cron="0 2 * * *", timezone="Europe/Berlin")
    deployment = scheduler.read_deployment_by_name("reproduce/local")
    soon = datetime.now(UTC) + timedelta(seconds=3)
    often = IntervalSchedule(interval=timedelta(seconds=10), anchor_date=soon)
    scheduler.create_deployment_schedules(deployment.id, [(often, True)])
    assert runs_in_state(scheduler, "Completed")[0].auto_scheduled

    toy.edit("arch_update_freq: 5", "arch_update_freq: 3")
    read_until(serving, "search 1/2")
    running = {run.id for run in runs_in_state(scheduler, "Running")}  # the next may wait already
    for one in running:
        scheduler.set_flow_run_state(one, Cancelling())
    while any("toy_stage" in command or "dvc" in command for command in processes_of(toy).values()):
        time.sleep(0.05)
    assert {run.id for run in runs_in_state(scheduler, "Cancelled")} <= running
    assert Path(f"{toy.log}.resume").read_text() == "search"
