import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline.harness.places import WRITTEN
from pipeline.running.repro import Line, OverTimeError, Repro, StoppedError
from tests.toy import STAGES, Toy, behave

pytestmark = pytest.mark.xdist_group("toy")
LONG = behave(search={"seconds": 60})


def follow(repro: Repro) -> tuple[list[tuple[str, str]], list[Line]]:
    """Return the stages with their fates, and all lines."""
    lines = list(repro.lines())
    stages = []
    while repro.stage:
        stages.append((repro.stage.name, repro.stage.fate))
        lines += repro.lines()
    return stages, lines


def until_search_works(repro: Repro) -> None:
    list(repro.lines())
    while repro.stage and repro.stage.name != "search":
        list(repro.lines())
    lines = repro.lines()
    while "search 1/2" not in next(lines).text:
        pass


def processes_of(toy: Toy) -> dict[int, str]:
    """Return the command lines of all processes that work in the project, by their numbers."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "cwd").readlink() == toy.folder and int(folder.name) != os.getpid():
                found[int(folder.name)] = (folder / "cmdline").read_text()
        except OSError:
            continue
    return {pid: command for pid, command in found.items() if command}


def test_of_an_up_to_date_tree_every_stage_is_cached(toy: Toy) -> None:
    with Repro(toy.folder) as repro:
        stages, _ = follow(repro)
        assert repro.succeeded
    assert stages == [(name, "cached") for name in STAGES]


def test_what_stages_of_an_earlier_dvc_wrote_is_forgotten(toy: Toy) -> None:
    record = toy.folder / WRITTEN / "warmup.json"
    record.parent.mkdir(parents=True)
    record.touch()
    with Repro(toy.folder) as repro:
        follow(repro)
    assert not record.exists()


def test_a_stage_whose_param_changed_runs_and_one_that_ran_before_is_restored(toy: Toy) -> None:
    toy.edit("arch_update_freq: 5", "arch_update_freq: 3")
    with Repro(toy.folder) as repro:
        stages, lines = follow(repro)
    assert dict(stages) == {
        "prepare": "cached",
        "warmup": "cached",
        "search": "ran",
        "export": "ran",
    }
    assert any(line.text.startswith("search: hello") for line in lines)
    toy.edit("arch_update_freq: 3", "arch_update_freq: 5")
    with Repro(toy.folder) as repro:
        stages, _ = follow(repro)
    assert dict(stages)["search"] == "restored"


def test_lines_have_the_level_of_what_they_say(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY", behave(search={"code": 3, "says": "search: no numbers"}))
    toy.edit("arch_update_freq: 5", "arch_update_freq: 3")
    with Repro(toy.folder) as repro:
        _, lines = follow(repro)
        assert not repro.succeeded
        assert repro.exit_code == 3
    levels = {line.text.split(" exited")[0]: line.level for line in lines}
    assert levels["search 1/2: an epoch"] == logging.INFO
    assert levels["search: no numbers"] == logging.WARNING
    failed = [text for text in levels if text.startswith("ERROR: failed to reproduce")]
    assert [levels[text] for text in failed] == [logging.ERROR]


def test_leaving_the_block_ends_the_stage_which_keeps_its_resume_point(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY", LONG)
    toy.edit("arch_update_freq: 5", "arch_update_freq: 3")
    with Repro(toy.folder) as repro:
        until_search_works(repro)
        assert processes_of(toy)
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert processes_of(toy) == {}
    assert Path(f"{toy.log}.resume").read_text() == "search"


def test_a_stage_that_will_not_end_is_killed(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.running.repro.GRACE_SECONDS", 0.2)
    monkeypatch.setenv("TOY", behave(search={"seconds": 60, "stubborn": True}))
    toy.edit("arch_update_freq: 5", "arch_update_freq: 3")
    with Repro(toy.folder) as repro:
        until_search_works(repro)
    assert processes_of(toy) == {}


def test_a_stage_has_until_its_deadline(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY", LONG)
    toy.edit("arch_update_freq: 5", "arch_update_freq: 3")
    with Repro(toy.folder) as repro:
        repro.deadline = time.monotonic() + 3
        with pytest.raises(OverTimeError):
            follow(repro)


def test_a_run_can_be_stopped_from_another_thread(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY", LONG)
    toy.edit("arch_update_freq: 5", "arch_update_freq: 3")
    stop = threading.Event()
    threading.Timer(2, stop.set).start()
    with Repro(toy.folder, stop=stop) as repro, pytest.raises(StoppedError):
        follow(repro)


def test_dvc_dies_with_the_process_that_started_it(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY", LONG)
    toy.edit("arch_update_freq: 5", "arch_update_freq: 3")
    script = (
        "from pathlib import Path\n"
        "from pipeline.running.repro import Repro\n"
        "with Repro(Path.cwd()) as repro:\n"
        "    while True:\n"
        "        for line in repro.lines():\n"
        "            print(line.text, flush=True)\n"
    )
    command = [sys.executable, "-c", script]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        while "search 1/2" not in process.stdout.readline():
            pass
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        until = time.monotonic() + 5
        while any("dvc" in command for command in processes_of(toy).values()):
            assert time.monotonic() < until
            time.sleep(0.05)
