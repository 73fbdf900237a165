"""`aso-se run` says how long it will take: real steps, in a clone with a real DVC."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.growing.policy import Size
from pipeline.params import Params
from pipeline.planning.forecast import seconds_by_stage, sentence
from pipeline.planning.measuring import Measured
from pipeline.running.overrides import replace
from tests.faults.injected.workplace import INJECTED
from tests.planning.test_command import DVC, SMALL
from tests.toy import ROOT, Toy

pytestmark = pytest.mark.xdist_group("plan")
TRAINED = """
  warmup:
    cmd: mkdir artifacts/warmup && echo trained > artifacts/warmup/weights
    params: [warmup]
    deps: [artifacts/prepare]
    outs: [artifacts/warmup]
"""
MEASURED = Measured(
    seconds={"warmup": 1.0, "search": 2.0, "growth": 2.0, "optimize": 4.0},
    size=Size(cells=3, channels=4, nodes=1),
    references={"resnet": 0.5, "resnet_all_passes": 0.5, "random_architecture": 4.0},
)
LINE = re.compile(r"^about [\d.]+ (min|h) on this machine: .*warmup ", re.MULTILINE)


@pytest.fixture
def clone(tmp_path: Path) -> Toy:
    """A project in which nothing has run; its training is not real, but its images are."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "dvc.yaml").write_text(DVC + TRAINED)
    changes = {**SMALL, "warmup.epochs": 3000}
    (folder / "params.yaml").write_text(replace((ROOT / "params.yaml").read_text(), changes))
    made = Toy(folder)
    made.run("git", "init", "--quiet", "--initial-branch=main")
    made.dvc("init", "--quiet")
    return made


def start(clone: Toy, **environment: str) -> "subprocess.Popen[str]":
    """Start `aso-se run`."""
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", "run"],
        cwd=clone.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(clone: Toy, **environment: str) -> str:
    """Run `aso-se run`; return all that it printed."""
    process = start(clone, **environment)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return output


def test_a_run_says_how_long_it_takes_before_it_trains_and_only_if_it_will_train(
    clone: Toy,
) -> None:
    shown = run(clone)
    said = LINE.search(shown)
    assert said
    assert shown.index("prepare: digits, ") < said.start() < shown.index("Running stage 'warmup'")
    assert "this machine" not in run(clone)


def test_a_run_that_is_stopped_while_steps_are_measured_ends_quietly_and_leaves_no_files(
    clone: Toy, tmp_path: Path
) -> None:
    places = tmp_path / "temporary", clone.folder / ".aso-se"
    places[0].mkdir()
    process = start(clone, TMPDIR=str(places[0]))
    assert process.stdout
    while "on cpu" not in (line := process.stdout.readline()):
        assert line
    while not any(list(place.rglob("checkpoint.safetensors")) for place in places):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate()
    assert (process.returncode, output) == (75, "")
    assert not any(list(place.rglob("checkpoint.safetensors")) for place in places)
    assert not list(places[0].glob("aso-se-*"))


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({}, r"\[Errno 17\] File exists: '\.aso-se/forecast/.*"),
        ({"FAULT": "step 2: CUDA"}, "CUDA error: unspecified launch failure"),
        ({"ASO_SE_DEVICE": "nowhere"}, "ASO_SE_DEVICE=nowhere: no such device here: .*"),
    ],
)
def test_a_run_goes_on_where_its_time_cannot_be_said(
    clone: Toy, environment: dict[str, str], why: str
) -> None:
    clone.dvc("repro", "prepare")
    if not environment:  # like a full disk, an error of a write
        (clone.folder / ".aso-se").mkdir(exist_ok=True)
        (clone.folder / ".aso-se/forecast").touch()
    shown = run(clone, PYTHONPATH=f"{ROOT}{os.pathsep}{INJECTED}", **environment)
    assert re.search(rf"^how long it takes cannot be said: {why}\nStage", shown, re.MULTILINE)
    assert "Running stage 'warmup'" in shown
    assert "Traceback" not in shown


def test_seconds_are_epochs_times_seconds_of_an_epoch_and_starts() -> None:
    params = Params()
    stages = {"prepare": 0, "warmup": 2, "growth": 0, "optimize": 0, "export": 0}
    found = seconds_by_stage(params, MEASURED, stages, passes=99, start=3.0)
    assert found == {
        "prepare": 3.0,
        "warmup": 3.0 + (params.warmup.epochs - 2) * 1.0,
        "growth": 3.0 + params.growth.epochs * 2.0,
        "optimize": 3.0 + params.optimize.epochs * 4.0,
        "export": 3.0,
    }


def test_references_that_are_networks_count_by_their_epochs() -> None:
    params = Params.model_validate({})
    short, long, other = 0.5 * params.optimize.epochs, 0.5 * 999, 4.0 * params.optimize.epochs
    for together, seconds in ((1, short + long + other), (2, max(long, short + other))):
        found = seconds_by_stage(
            params, MEASURED, {"reference": 0}, passes=999, start=3.0, together=together
        )
        assert found == {"reference": 3.0 + seconds}


def test_finalists_count_with_search() -> None:
    params = Params.model_validate({"search": {"finalists": 4, "finalist_epochs": 2}})
    measured = Measured(seconds={**MEASURED.seconds, "finalists": 7.0}, size=MEASURED.size)
    found = seconds_by_stage(params, measured, {"search": 0}, passes=99, start=0.0)
    assert found == {"search": params.search.epochs * 2.0 + 2 * 7.0}


def test_the_line_names_what_takes_a_minute_and_there_is_none_about_less() -> None:
    assert sentence({"warmup": 20.0, "search": 5.0}) == ""
    assert sentence({"warmup": 20.0, "search": 130.0, "optimize": 7200.0}) == (
        "about 2.0 h on this machine: search 2 min, optimize 2.0 h"
        " (less where DVC's cache has the result)"
    )
