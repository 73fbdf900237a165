"""Sweeps whose trials run on workers: a real server, two workers with a clone each, one origin."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import WorkerStatus
from prefect.deployments.runner import RunnerDeployment
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.types.entrypoint import EntrypointType

from pipeline.__main__ import main
from pipeline.flows import sweep, trial
from pipeline.flows.pools import in_pool, require_pool
from pipeline.flows.reproducing import GivenUpError
from pipeline.flows.trials import Plan
from pipeline.running.applying import apply
from tests.flows.conftest import kill_all, whole_server
from tests.ports import free_port
from tests.toy import Toy, behave

pytestmark = pytest.mark.xdist_group("toy")
ROOT = Path(__file__).resolve().parents[2]
FREQUENCY = "search.arch_update_freq"
POOL = "aso-se"
Begin = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SyncPrefectClient]:
    """A server with the project's pool and its deployment of `trial`, and a pool without."""
    with whole_server(tmp_path_factory.mktemp("server")) as client:
        prefect("work-pool", "create", "--type", "process", POOL)
        prefect("work-pool", "create", "--type", "process", "empty")
        prefect("--no-prompt", "deploy", "--name", "trial")
        yield client


def prefect(*words: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "prefect", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PREFECT_API_URL": PREFECT_API_URL.value()},
        check=True,
        stdout=subprocess.DEVNULL,
    )


@pytest.fixture
def origin(toy: Toy) -> Path:
    """A bare repository, from which the toy project could have been cloned."""
    folder = toy.folder.parent / "origin.git"
    toy.run("git", "init", "--quiet", "--bare", str(folder))
    toy.run("git", "remote", "add", "origin", str(folder))
    toy.run("git", "push", "--quiet", "origin", "main")
    return folder


@pytest.fixture
def begin(toy: Toy) -> Iterator[Begin]:
    """Start `python WORD...` in a clone, with its own code; it is killed with all its children."""
    started = []

    def begin(clone: Path, *words: str, **environment: str) -> "subprocess.Popen[str]":
        with (clone / ".git" / "printed").open("w") as printed:
            process = subprocess.Popen(
                [sys.executable, *words],
                cwd=clone,
                env={
                    **os.environ,
                    "PREFECT_API_URL": PREFECT_API_URL.value() or "",
                    "PYTHONPATH": str(clone if (clone / "pipeline").exists() else ROOT),
                    **environment,
                },
                stdout=printed,
                stderr=subprocess.STDOUT,
                text=True,
            )
        started.append(process)
        return process

    yield begin
    for process in started:
        kill_all(process)


@pytest.fixture
def bucket(toy: Toy, begin: Begin, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make a bucket of a real S3 server the default remote of the toy project; return its URL."""
    port = free_port()
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(key, "testing")
    begin(toy.folder, "-m", "moto.server", "--port", str(port))
    server = f"http://127.0.0.1:{port}"
    wait_for(lambda: answers(f"{server}/moto-api/"))
    made = httpx.put(f"{server}/shared", headers={"x-amz-content-sha256": "UNSIGNED-PAYLOAD"})
    made.raise_for_status()
    toy.dvc("remote", "add", "--default", "bucket", "s3://shared/results")
    toy.dvc("remote", "modify", "bucket", "endpointurl", server)
    toy.commit("a bucket")
    return f"{server}/shared"


def answers(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False


def hire(
    begin: Begin, toy: Toy, origin: Path, name: str, *, shares: bool = True, **environment: str
) -> Any:
    """Start a worker in a clone of its own; shares: whether it has the toy project's cache."""
    clone = toy.folder.parent / name
    toy.run("git", "clone", "--quiet", "--branch", "main", str(origin), str(clone))
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "pipeline", clone / "pipeline", ignore=ignored)
    (clone / ".git" / "info" / "exclude").write_text("/pipeline/\n")
    if shares:
        Toy(clone).dvc("cache", "dir", "--local", str(toy.folder / ".dvc" / "cache"))
    words = ("-m", "prefect", "worker", "start", "--pool", POOL, "--name", name, "--limit", "1")
    return begin(clone, *words, PREFECT_WORKER_QUERY_SECONDS="1", **environment)


def wait_for(what: Callable[[], object]) -> None:
    until = time.monotonic() + 180
    while not what():
        assert time.monotonic() < until
        time.sleep(0.1)


def states(client: SyncPrefectClient, name: str) -> list[str]:
    """Return the states of the trials of a name, the oldest first."""
    runs = [run for run in client.read_flow_runs() if run.name == name]
    runs.sort(key=lambda run: str(run.created))
    return [str(run.state_name) for run in runs]


def epochs(toy: Toy) -> list[str]:
    path = Path(f"{toy.log}.epochs")
    return path.read_text().splitlines() if path.exists() else []


def in_workers(**parameters: Any) -> Any:
    given = {"objective": "search.validation_accuracy", "pool": POOL, **parameters}
    return sweep(**given, return_state=True)


def test_workers_share_a_grid_and_run_once_what_its_points_share(
    whole: SyncPrefectClient, toy: Toy, origin: Path, begin: Begin
) -> None:
    for name in ("one", "two"):
        hire(begin, toy, origin, name, TOY=behave(search={"seconds": 3}))
    toy.edit("ramp_epochs: 6", "ramp_epochs: 5")
    code = toy.folder / "toy_stage.py"
    code.write_text(code.read_text().replace("a model of", "an uncommitted model of"))
    before = toy.run("git", "status", "--porcelain")
    found = in_workers(space={FREQUENCY: [3, 4, 6]}, name="grid", max_parallel=2).result()
    assert [one["value"] for one in found["ranking"]] == [0.9, 0.9, 0.8]
    ran = toy.ran()
    once = {"prepare": 1, "warmup": 1, "search": 3, "export": 3}
    assert {stage: ran.count(stage) for stage in ran} == found["ran"] == once
    clones = {one["place"].rpartition("/")[2] for one in found["ranking"]}
    assert clones == {"one", "two"}
    assert toy.run("git", "status", "--porcelain") == before
    apply(toy.folder, "grid-00")
    assert "arch_update_freq: 3" in (toy.folder / "params.yaml").read_text()
    assert (toy.folder / "artifacts/export/model.onnx").read_text() == "an uncommitted model of 0.2"
    assert "sweeps" not in toy.run("git", "ls-remote", "origin")


def test_workers_that_share_nothing_but_a_bucket_hand_their_results_over_by_it(
    whole: SyncPrefectClient, toy: Toy, bucket: str, origin: Path, begin: Begin
) -> None:
    for name in ("one", "two"):
        hire(begin, toy, origin, name, shares=False, TOY=behave(search={"seconds": 3}))
    found = in_workers(space={FREQUENCY: [3, 4]}, name="grid", max_parallel=2).result()
    assert {one["place"].rpartition("/")[2] for one in found["ranking"]} == {"one", "two"}
    assert found["ran"] == {"prepare": 2, "warmup": 2, "search": 2, "export": 2}
    apply(toy.folder, "grid-01")
    model = toy.folder / "artifacts/export/model.onnx"
    assert model.read_text() == "a model of 0.1"
    digest = hashlib.md5(model.read_bytes(), usedforsecurity=False).hexdigest()
    assert f"<Key>results/files/md5/{digest[:2]}/{digest[2:]}</Key>" in httpx.get(bucket).text


def test_a_trial_whose_machine_goes_down_ends_on_another_after_its_last_epoch(
    whole: SyncPrefectClient, toy: Toy, origin: Path, begin: Begin
) -> None:
    points = toy.folder.parent / "points"
    points.mkdir()
    told = {
        "TOY": behave(search={"seconds": 6, "resumes": True}),
        "ASO_SE_RESUME": str(points),
    }
    workers = {name: hire(begin, toy, origin, name, **told) for name in ("one", "two")}
    words = (f"{FREQUENCY}=3", "--objective", "search.validation_accuracy")
    command = ("-m", "pipeline", "sweep", *words, "--pool", POOL, "--name", "lost")
    sweeping = begin(toy.folder, *command)
    wait_for(lambda: epochs(toy) == ["search 3 1"])
    (busy,) = [name for name, one in workers.items() if psutil.Process(one.pid).children()]
    kill_all(workers.pop(busy))
    wait_for(lambda: sweeping.poll() is not None)
    assert sweeping.returncode == 0
    (idle,) = workers
    printed = (toy.folder / ".git" / "printed").read_text()
    assert f"lost-00: lost: no sign of life from {os.uname().nodename}:" in printed
    assert f"/{idle}" in re.sub(r"[│\s]", "", printed)  # a cell goes on in the next line
    assert states(whole, "lost-00") == ["Crashed", "Completed"]
    assert epochs(toy) == ["search 3 1", "search 3 2"]


def test_a_trial_that_is_given_up_or_whose_sweep_is_interrupted_ends_on_its_worker(
    whole: SyncPrefectClient, toy: Toy, origin: Path, begin: Begin
) -> None:
    hire(begin, toy, origin, "one", TOY=behave(search={"seconds": 60}))
    workers = whole.read_workers_for_work_pool
    wait_for(lambda: any(one.status == WorkerStatus.ONLINE for one in workers(POOL)))
    resumes = Path(f"{toy.log}.resume")
    objective = "search.validation_accuracy"
    plan = Plan(tree=toy.folder, name="poor", profile=None, overrides={}, objective=objective)
    rows = []

    def is_hopeless(_: str, row: Any) -> bool:
        rows.append(row)
        return True

    with in_pool(plan, POOL, require_pool(POOL), hours=None) as pool:
        wanted = {"device": "", "stop": Event(), "on_epoch": is_hopeless}
        with pytest.raises(GivenUpError, match="other trials were better"):
            pool.run_trial("poor-00", plan.params({FREQUENCY: 3}), **wanted)
    assert rows == [{"epoch": "1", "validation_accuracy": "0.3"}]
    assert states(whole, "poor-00") == ["Cancelled"]
    assert resumes.read_text() == "search"

    resumes.unlink()
    toy.ran()
    words = (f"{FREQUENCY}=3,4", "--objective", objective, "--pool", POOL, "--max-parallel", "2")
    sweeping = begin(toy.folder, "-m", "pipeline", "sweep", *words, "--name", "halted")
    wait_for(lambda: "search" in (toy.log.read_text() if toy.log.exists() else ""))
    sweeping.send_signal(signal.SIGINT)
    wait_for(lambda: sweeping.poll() is not None)
    assert states(whole, "halted-00") == states(whole, "halted-01") == ["Cancelled"]
    assert resumes.read_text() == "search"


def test_a_sweep_without_workers_says_so_and_waits(
    whole: SyncPrefectClient, toy: Toy, origin: Path, begin: Begin
) -> None:
    prefect("work-pool", "create", "--type", "process", "quiet")
    made = trial.to_deployment(
        "quiet", work_pool_name="quiet", entrypoint_type=EntrypointType.MODULE_PATH
    )
    assert isinstance(made, RunnerDeployment)
    made.apply()
    words = (f"{FREQUENCY}=3", "--objective", "search.validation_accuracy", "--pool", "quiet")
    sweeping = begin(toy.folder, "-m", "pipeline", "sweep", *words, "--name", "early")
    wait_for(lambda: states(whole, "early-00"))
    assert "no worker is online" in (toy.folder / ".git" / "printed").read_text()
    assert sweeping.poll() is None
    sweeping.send_signal(signal.SIGINT)
    wait_for(lambda: sweeping.poll() is not None)
    assert states(whole, "early-00") == ["Cancelled"]


def test_what_a_pool_lacks_is_told_in_one_line_before_anything_runs(
    whole: SyncPrefectClient, toy: Toy
) -> None:
    def told(**parameters: Any) -> str:
        state = in_workers(**{"space": {FREQUENCY: [3]}, "name": "bad", **parameters})
        assert state.is_failed()
        message = str(state.message)
        assert "\n" not in message
        return message

    assert told(pool="none").startswith("pool none: the server has no such work pool; 'prefect")
    assert told(pool="empty").startswith("pool empty: has no deployment of 'trial'; 'prefect")
    assert told(devices=["cpu"]).startswith("devices: not with a pool;")
    assert ": has no Git remote 'origin', by which workers get the files" in told()
    refusing = toy.folder.parent / "refusing.git"
    toy.run("git", "init", "--quiet", "--bare", str(refusing))
    hook = refusing / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o700)
    toy.run("git", "remote", "add", "origin", str(refusing))
    assert "the Git remote 'origin' must take refs/aso-se/sweeps/* from this clone" in told()
    assert states(whole, "bad-00") == []
    assert toy.ran() == []


def test_a_pool_needs_a_server(
    toy: Toy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["aso-se", "sweep", f"{FREQUENCY}=3", "--pool", POOL])
    with temporary_settings(restore_defaults={PREFECT_API_URL}), pytest.raises(SystemExit):
        main()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("PREFECT_API_URL: not set; start one with 'prefect server start'")
