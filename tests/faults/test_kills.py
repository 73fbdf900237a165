"""A stage that is killed (-9) at any instant gives the same bytes when it is run again by hand.

The instants are those in the middle of something: a file is half written, not yet synced or not yet
renamed, or a batch is being trained on. `pytest -m slow` tries all of them; `benchmarks/kills.py`
tries random ones, with DVC.
"""

import os
import subprocess
import sys

import pytest

from tests.faults.injected.workplace import COMMANDS, INJECTED, OLD, TINY, TRAINED, Workplace

pytestmark = pytest.mark.xdist_group("faults")

KILLED = -9


def kill_and_rerun(place: Workplace, stage: str, operation: str, number: int) -> str:
    """Kill at the `number`th instant of a kind; check the files; return the rerun's output."""
    place.rewind(stage)

    ended = place.run(stage, f"{operation} {number}: SIGKILL")

    assert (ended.code, ended.errors) == (KILLED, "")
    for name, content in place.whole[stage].items():
        assert place.artifacts(stage)[name] in (OLD, content)
    points = place.points(stage)

    again = place.run(stage)

    assert (again.code, again.errors) == (0, "")
    assert place.artifacts(stage) == place.whole[stage]
    assert not place.partials()
    assert not place.points(stage)
    if points:
        assert f": resumes after epoch {int(points[-1].stem)} of " in again.output
    return again.output


@pytest.mark.parametrize("stage", [*TRAINED, "reference"])
def test_a_kill_in_the_last_batch_costs_one_epoch(place: Workplace, stage: str) -> None:
    output = kill_and_rerun(place, stage, "step", place.steps[stage])
    epochs = TINY["optimize" if stage == "reference" else stage]["epochs"]
    name = "reference-resnet" if stage == "reference" else stage
    assert f"{name}: resumes after epoch {epochs - 1} of {epochs}\n" in output


@pytest.mark.parametrize("operation", ["write", "fsync", "rename"])
def test_a_kill_while_a_file_is_written_spoils_nothing(place: Workplace, operation: str) -> None:
    for number in (3, len(place.written["warmup"])):
        kill_and_rerun(place, "warmup", operation, number)


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["open", "write", "fsync", "rename", "step"])
@pytest.mark.parametrize("stage", COMMANDS)
def test_a_kill_at_any_instant_of_any_stage_spoils_nothing(
    place: Workplace, stage: str, operation: str
) -> None:
    files = len(place.written[stage])
    instants = place.steps[stage] if operation == "step" else files
    if operation == "fsync":
        instants = sum(line.startswith("fsync ") for line in place.trace(stage))
    for number in range(1, instants + 1):
        kill_and_rerun(place, stage, operation, number)


@pytest.mark.parametrize(
    ("fault", "code", "says"),
    [
        ("write 1: ENOSPC", 4, "artifacts/check/params.txt: No space left on device\n"),
        ("write 1: SIGKILL", KILLED, ""),
        ("", 0, ""),
    ],
)
def test_a_process_of_its_own_meets_the_same_fault(
    place: Workplace, fault: str, code: int, says: str
) -> None:
    place.rewind("check")
    ended = subprocess.run(
        [sys.executable, "-m", *COMMANDS["check"]],
        cwd=place.folder,
        env={**os.environ, "PYTHONPATH": str(INJECTED), "FAULT": fault},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (code, says)
