"""`aso-se run` as a process: how many may run, how it ends, what a kill leaves."""

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.running.test_repro import processes_of
from tests.toy import Toy, behave

pytestmark = pytest.mark.xdist_group("toy")
ROOT = Path(__file__).resolve().parents[2]
LONG = behave(search={"seconds": 60})
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a command of Python in the toy project; it is killed at the end of the test."""
    started = []

    def begin(*command: str, **environment: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, *command],
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


def aso_se(*arguments: str, folder: Path | None = None, toy: str = "{}") -> tuple[int, str]:
    """Run a command to its end; return its exit code and all that was printed."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TOY": toy},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stdout
    return done.returncode, done.stdout


def read_until(process: "subprocess.Popen[str]", text: str) -> None:
    assert process.stdout
    lines = []
    while text not in (line := process.stdout.readline()):
        lines.append(line)
        assert line, "".join(lines)


def kill_all(toy: Toy, words: str) -> None:
    found = [pid for pid, command in processes_of(toy).items() if words in command]
    assert found
    for pid in found:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def until_gone(toy: Toy, words: str = "") -> None:
    until = time.monotonic() + 10
    while any(words in command for command in processes_of(toy).values()):
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize("path", ["''", ".", "artifacts", "~/photos", "..", r'"a\0b"', r'"\e[2J"'])
def test_a_data_path_that_cannot_be_is_named_before_dvc_begins(path: str, toy: Toy) -> None:
    toy.edit("path: data ", f"path: {path} ")
    graph = toy.folder / "dvc.yaml"
    graph.write_text(graph.read_text().replace("[toy_stage.py]", '[toy_stage.py, "${data.path}"]'))
    for command in ("check", "run"):
        code, output = aso_se(command)
        assert code == 1
        assert output.startswith("params.yaml: data.path: expected ")
        assert output.count("\n") == 1
        assert output.removesuffix("\n").isprintable()
    _, output = aso_se("status")
    assert output.startswith("params.yaml: data.path: expected ") or output.endswith(
        "\nnext: aso-se check\n"
    )
    assert output.replace("\n", "").isprintable()


def test_a_missing_data_path_is_named_before_dvc_begins(toy: Toy) -> None:
    params = toy.folder / "params.yaml"
    lines = params.read_text().splitlines(keepends=True)
    params.write_text("".join(line for line in lines if not line.startswith("  path: ")))
    for command in (["check"], ["run"], ["sweep", "search.epochs=1,2"]):
        code, output = aso_se(*command)
        assert code == 1
        assert output.splitlines()[-1].endswith(": data.path: missing; add 'path: data'")
        assert output.count("\n") == 1
    assert toy.ran() == []


def test_a_run_shows_what_dvc_and_the_stages_say_and_runs_only_what_changed(toy: Toy) -> None:
    toy.edit("arch_update_freq: 5", "arch_update_freq: 3")
    code, output = aso_se("run", "search")
    assert code == 0
    assert toy.ran() == ["search"]
    assert output.startswith("Stage 'prepare' didn't change, skipping\n")
    assert "\nsearch 1/2: an epoch\n" in output
    assert "\nsearch: a warning\n" in output
    assert aso_se("run", "--force")[0] == 0
    assert toy.ran() == ["prepare", "warmup", "search", "export"]


def test_a_forced_run_prepares_the_images_once_even_if_they_are_outdated(toy: Toy) -> None:
    toy.edit("seed: 42", "seed: 43")
    assert aso_se("run", "--force")[0] == 0
    assert toy.ran() == ["prepare", "warmup", "search", "export"]


@pytest.mark.parametrize("expected", [3, 75])
def test_the_exit_code_is_that_of_the_stage_that_failed(toy: Toy, expected: int) -> None:
    toy.edit("arch_update_freq: 5", "arch_update_freq: 3")
    code, output = aso_se("run", toy=behave(search={"code": expected, "says": "search: no"}))
    assert code == expected
    assert "\nsearch: no\n" in output


def test_what_dvc_refuses_by_itself_exits_with_1(toy: Toy) -> None:
    code, output = aso_se("run", "nothing")
    assert code == 1
    assert output.startswith("ERROR: ")
    toy.edit("seed: 42", "seed: [")
    code, output = aso_se("run")
    assert code == 1
    assert "params.yaml" in output


def test_the_second_run_in_a_tree_says_who_is_the_first_and_exits(toy: Toy, start: Start) -> None:
    toy.edit("arch_update_freq: 5", "arch_update_freq: 3")
    first = start("-m", "pipeline", "run", TOY=LONG)
    read_until(first, "search 1/2")
    for command in ("run", "verify"):
        code, output = aso_se(command)
        assert code == 1
        line = rf"this tree is in use by aso-se run \(pid {first.pid} on .*, since .*\); run .*\n"
        assert re.fullmatch(line, output)
    assert first.poll() is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_dvc_and_the_stage_which_has_the_last_word(
    toy: Toy, start: Start, number: signal.Signals
) -> None:
    toy.edit("arch_update_freq: 5", "arch_update_freq: 3")
    process = start("-m", "pipeline", "run", TOY=LONG)
    read_until(process, "search 1/2")
    began = time.monotonic()
    process.send_signal(number)
    output, _ = process.communicate()
    assert process.returncode == 75
    assert time.monotonic() - began < 5
    assert processes_of(toy) == {}
    assert "interrupted\nERROR: failed to reproduce 'search'" in output
    assert "Traceback" not in output
    assert Path(f"{toy.log}.resume").read_text() == "search"
    assert aso_se("run")[0] == 0


@pytest.fixture
def endless(toy: Toy) -> Toy:
    """A project with a file that DVC never finishes to hash: a pipe that nobody writes to."""
    os.mkfifo(toy.folder / "pipe")
    text = (toy.folder / "dvc.yaml").read_text()
    (toy.folder / "dvc.yaml").write_text(text.replace("deps: [toy_stage.py]", "deps: [pipe]"))
    return toy


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_while_dvc_looks_at_what_has_changed(
    endless: Toy, start: Start, number: signal.Signals
) -> None:
    process = start("-m", "pipeline", "run")
    read_until(process, "looking at what has changed ...")
    process.send_signal(number)
    output, _ = process.communicate()
    assert (process.returncode, output) == (75, "")
    assert processes_of(endless) == {}


def test_dvc_does_not_go_on_looking_when_the_front_is_killed(endless: Toy, start: Start) -> None:
    process = start("-m", "pipeline", "run")
    read_until(process, "looking at what has changed ...")
    process.kill()
    until_gone(endless)


def test_when_the_front_is_killed_dvc_ends_and_the_next_run_needs_no_hand(
    toy: Toy, start: Start
) -> None:
    toy.edit("arch_update_freq: 5", "arch_update_freq: 3")
    process = start("-m", "pipeline", "run", TOY=LONG)
    read_until(process, "search 1/2")
    process.kill()
    until_gone(toy, "dvc")
    kill_all(toy, "toy_stage")  # they do not end with DVC, as the project's do
    assert aso_se("run")[0] == 0
    assert aso_se("verify")[0] == 0


def test_when_dvc_is_killed_the_run_says_so_and_can_be_run_again(toy: Toy, start: Start) -> None:
    toy.edit("arch_update_freq: 5", "arch_update_freq: 3")
    process = start("-m", "pipeline", "run", TOY=LONG)
    read_until(process, "search 1/2")
    kill_all(toy, "dvc\0repro")
    kill_all(toy, "toy_stage")
    output, _ = process.communicate()
    assert process.returncode == 75
    assert output.endswith("dvc: killed; run it again\n")
    assert aso_se("run")[0] == 0


@pytest.mark.parametrize("seconds", [1.0, 2.0])
def test_a_run_goes_on_wherever_plain_dvc_was_killed(
    toy: Toy, start: Start, seconds: float
) -> None:
    toy.edit("arch_update_freq: 5", "arch_update_freq: 3")
    process = start("-m", "dvc", "repro", "--force")
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    until_gone(toy)
    assert aso_se("run")[0] == 0
    assert aso_se("verify")[0] == 0
    assert "up to date" in aso_se("run")[1]


def test_the_stages_have_the_terminal_and_it_gets_its_cursor_back(toy: Toy) -> None:
    stage = '  asking:\n    cmd: python -c "import sys; print(sys.stdout.isatty()); sys.exit(3)"\n'
    with (toy.folder / "dvc.yaml").open("a") as file:
        file.write(stage)
    here, there = pty.openpty()
    command = [sys.executable, "-m", "pipeline", "run", "asking"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, stdout=there, stderr=there, check=False)
    assert done.returncode == 3
    os.close(there)
    output = os.read(here, 1 << 16).decode()
    os.close(here)
    assert "\r\nTrue\r\n" in output
    assert output.endswith("\x1b[?25h")


@pytest.mark.parametrize(
    "command",
    [
        *("run", "status", "verify", "check", "profile digits", "plan --minutes 1", "latency"),
        *("compare", "try seed=1 --name one", "apply one"),
    ],
)
def test_in_a_subfolder_of_a_clone_every_command_says_where_to_run_it(
    command: str, toy: Toy
) -> None:
    below = toy.folder / "some" / "where"
    below.mkdir(parents=True)
    code, output = aso_se(*command.split(), folder=below)
    assert code == 1
    assert output.endswith(f"; run this in {toy.folder}\n")
    assert output.count("\n") == 1


def test_a_folder_that_is_no_clone_or_cannot_be_written_gives_one_line(
    toy: Toy, tmp_path: Path
) -> None:
    for command in ("run", "verify"):
        code, output = aso_se(command, folder=tmp_path)
        assert code == 1
        assert output == f"{tmp_path}: holds no dvc.yaml; run this in a clone of the project\n"
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    code, output = aso_se("run", folder=tmp_path)
    assert code == 1
    assert output.startswith("ERROR: you are not inside of a DVC repository")
    shutil.rmtree(toy.folder / ".aso-se")
    (toy.folder / ".aso-se").write_text("a file\n")
    for command in ("run", "verify"):
        code, output = aso_se(command)
        assert (code, output.count("\n")) == (1, 1)
        assert output.startswith(f"{toy.folder}/.aso-se")
