import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.locking.lock import hold, is_held

HOLD = """
import sys, time
from pathlib import Path
from pipeline.locking.lock import hold
with hold(Path(sys.argv[1]), "the first", waiting=print):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "state" / "lock"


@pytest.fixture
def holder(lock: Path) -> "subprocess.Popen[str]":
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def test_a_lock_is_free_again_behind_its_block(lock: Path) -> None:
    told: list[str] = []
    for number in range(2):
        with hold(lock, f"run {number}", waiting=told.append):
            assert is_held(lock)
        assert not is_held(lock)
    assert told == []


def test_the_second_is_told_who_holds_it_and_gets_it_when_the_first_is_killed(
    lock: Path, holder: "subprocess.Popen[str]"
) -> None:
    told: list[str] = []

    def kill(first: str) -> None:
        told.append(first)
        os.kill(holder.pid, signal.SIGKILL)

    with hold(lock, "the second", waiting=kill):
        assert told == ["the first"]
        assert lock.read_text() == "the second"
    holder.wait()
    assert holder.stdout
    holder.stdout.close()
