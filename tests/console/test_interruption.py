"""A signal ends a stage at once, with one line and exit code 75; so does the end of DVC."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.console.interruption import TOLD

ROOT = Path(__file__).resolve().parents[2]
RECIPE = """
import time
from pathlib import Path

print("importing", flush=True)
{at_import}

from pipeline.console.interruption import if_interrupted
from pipeline.console.stage import run_stage
from pipeline.harness.section import Section, Seed


class Params(Section):
    seed: Seed


def main(params: Params, out: Path) -> None:
    print("working", flush=True)
    {body}


if __name__ == "__main__":
    run_stage(Params, main)
"""
SLEEP = "time.sleep(60)"
BUSY = "while True: pass"
SWALLOWING = """
    while True:
        try:
            time.sleep(1)
        except BaseException:
            pass
"""
Begin = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Begin a stage with the given body; it is killed at the end of the test."""
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "__init__.py").write_text((ROOT / "stages" / "__init__.py").read_text())
    (tmp_path / "pipeline").symlink_to(ROOT / "pipeline")
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    begun = []

    def start(body: str = SLEEP, *, at_import: str = "", until: str) -> subprocess.Popen[str]:
        recipe = RECIPE.format(body=body, at_import=at_import)
        (tmp_path / "stages" / "tiny.py").write_text(recipe)
        process = subprocess.Popen(
            [sys.executable, "-m", "stages.tiny", "out"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        begun.append(process)
        assert process.stdout is not None
        while process.stdout.readline() not in {f"{until}\n", ""}:
            pass
        return process

    yield start
    for process in begun:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("body", [SLEEP, BUSY, SWALLOWING], ids=["asleep", "busy", "swallowing"])
def test_a_signal_ends_a_stage_at_once_with_one_line_and_a_code_of_its_own(
    begin: Begin, number: signal.Signals, body: str
) -> None:
    stage = begin(body, until="working")
    stage.send_signal(number)
    _, errors = stage.communicate(timeout=5)
    assert (stage.returncode, errors) == (75, "tiny: interrupted; run it again\n")


def test_a_signal_while_a_stage_imports_ends_it_likewise(begin: Begin) -> None:
    stage = begin(at_import=SLEEP, until="importing")
    stage.send_signal(signal.SIGINT)
    _, errors = stage.communicate(timeout=5)
    assert (stage.returncode, errors) == (75, "tiny: interrupted; run it again\n")


def test_many_signals_do_no_more_than_one(begin: Begin) -> None:
    stage = begin(until="working")
    for number in 5 * [signal.SIGTERM, signal.SIGINT]:
        stage.send_signal(number)
    _, errors = stage.communicate(timeout=5)
    assert (stage.returncode, errors) == (75, "tiny: interrupted; run it again\n")


def test_the_line_says_what_the_stage_last_announced(begin: Begin) -> None:
    stage = begin(f"if_interrupted('tiny: interrupted after epoch 1'); {SLEEP}", until="working")
    time.sleep(0.2)
    stage.terminate()
    assert stage.communicate(timeout=5)[1] == "tiny: interrupted after epoch 1\n"


def test_a_log_that_nobody_reads_any_more_is_no_obstacle(begin: Begin) -> None:
    stage = begin(until="working")
    assert stage.stderr is not None
    stage.stderr.close()
    stage.terminate()
    assert stage.wait(timeout=5) == 75


def test_importing_the_stages_changes_no_signal() -> None:
    script = "import signal, stages.check; print(signal.getsignal(signal.SIGTERM).name)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "SIG_DFL\n"


@pytest.mark.parametrize("by_dvc", [True, False])
def test_a_stage_ends_with_dvc_but_by_hand_it_outlives_its_parent(
    begin: Begin, by_dvc: bool, tmp_path: Path
) -> None:
    begin(until="working").kill()  # leaves the recipe
    parent = subprocess.Popen(
        ["sh", "-c", f"{sys.executable} -m stages.tiny out & wait"],
        cwd=tmp_path,
        env={**os.environ, **({"DVC_STAGE": "tiny"} if by_dvc else {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout is not None
    assert parent.stderr is not None
    assert [parent.stdout.readline() for _ in range(2)] == ["importing\n", "working\n"]
    parent.kill()
    ended, _, _ = select.select([parent.stderr], [], [], 2 if by_dvc else 0.7)
    with suppress(ProcessLookupError):
        os.killpg(parent.pid, signal.SIGKILL)
    assert bool(ended) == by_dvc
    assert parent.communicate()[1] == ("tiny: interrupted; run it again\n" if by_dvc else "")


def test_a_stage_that_dvc_left_before_it_began_does_not_begin(begin: Begin, tmp_path: Path) -> None:
    begin(until="working").kill()
    # The shell ends at once; the stage waits until another process has adopted it.
    orphan = f"(sleep 0.3; exec {sys.executable} -m stages.tiny out) &"
    done = subprocess.run(
        ["sh", "-c", orphan],
        cwd=tmp_path,
        env={**os.environ, "DVC_STAGE": "tiny"},
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
        start_new_session=True,
    )
    assert (done.stdout, done.stderr) == ("", "tiny: interrupted; run it again\n")


ONE_OF_TWO = """
import time
from pipeline.console.interruption import end_when_told

end_when_told("tiny")
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("told", [True, False])
def test_one_of_several_speaks_only_if_it_is_also_told(number: signal.Signals, told: bool) -> None:
    torchrun = {"TORCHELASTIC_RUN_ID": "test", "RANK": "0", "WORLD_SIZE": "2"}
    with subprocess.Popen(
        [sys.executable, "-c", ONE_OF_TWO],
        env={**os.environ, **torchrun},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)  # both wait when it goes on
        for one in (number, *([TOLD] if told else []), signal.SIGCONT):
            process.send_signal(one)
        _, said = process.communicate()
    expected = "tiny: interrupted; run it again\n" if told else ""
    assert (process.returncode, said) == (75, expected)
