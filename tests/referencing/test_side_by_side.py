"""References that train in processes of their own, started as DVC starts the stage."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch

from pipeline.referencing.side_by_side import at_once, side_by_side
from pipeline.running.overrides import replace

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
KINDS = ("majority", "resnet", "resnet_all_passes", "random_architecture")
CHANGES = {
    "reference.kinds": list(KINDS),
    "training.batch_size": 4,
    "warmup.epochs": 2,
    "search.epochs": 2,
    "growth.epochs": 2,
    "optimize.epochs": 20,
}


def start(folder: Path, threads: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "stages.reference", "prepare", "derive", f"reference-{threads}"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(threads)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def children(stage: "subprocess.Popen[str]") -> dict[str, psutil.Process]:
    """Return the processes of a stage by the reference that each trains."""
    found = {}
    for one in psutil.Process(stage.pid).children():
        try:
            found[one.environ()["ASO_SE_REFERENCE"]] = one
        except (KeyError, psutil.Error):  # it has just begun, or has ended
            continue
    return found


def wait_for(what: Callable[[], object]) -> None:
    until = time.monotonic() + 180
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_they_give_the_bytes_of_one_thread_also_after_the_death_of_stage_and_child(
    here: Path,
) -> None:
    (here / "params.yaml").write_text(replace((ROOT / "params.yaml").read_text(), CHANGES))
    alone = start(here, 1)
    told, _ = alone.communicate(timeout=300)
    assert alone.returncode == 0, told
    assert "resumes" not in told
    progress = here / ".aso-se" / "progress"
    for path in progress.iterdir():
        path.unlink()

    killed = start(here, 2)
    wait_for(lambda: len(list(progress.glob("reference-*.tsv"))) == 2)
    both = children(killed)
    assert len(both) == 2
    killed.kill()
    psutil.wait_procs(both.values(), timeout=60)
    assert not any(one.is_running() for one in both.values())
    killed.communicate()

    again = start(here, 2)
    wait_for(lambda: children(again))
    for one in children(again).values():
        one.kill()
    told, _ = again.communicate(timeout=300)
    assert again.returncode == 0, told
    assert "Traceback" not in told
    assert "reference: 2 networks train at a time, with 1 threads each\n" in told
    assert told.count("its process ended with code -9; it goes on here\n") == 2
    for kind in KINDS[1:]:
        assert f"reference-{kind}: resumes after epoch " in told
    assert (here / "reference-2" / "references.json").read_bytes() == (
        here / "reference-1" / "references.json"
    ).read_bytes()
    assert not list(here.glob(".aso-se/resume/*"))


def test_a_stage_that_fails_does_not_wait_for_them(here: Path) -> None:
    changes = {
        **CHANGES,
        "optimize.epochs": 10_000,
        "reference.kinds": ["frozen_features", "resnet", "random_architecture"],
        "reference.backbone": "resnet18:missing.pth",
    }
    (here / "params.yaml").write_text(replace((ROOT / "params.yaml").read_text(), changes))
    stage = start(here, 2)
    told, _ = stage.communicate(timeout=300)
    assert stage.returncode == 1
    assert "missing.pth: no such file" in told.splitlines()[-1]


def test_a_program_that_calls_the_stage_gets_its_bits_and_its_threads_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        assert [at_once(KINDS[:count], CPU) for count in (1, 2, 3, 4)] == [1, 1, 2, 3]
        with side_by_side(KINDS[:3], CPU) as ready:
            assert torch.get_num_threads() == 2
            ready("resnet")
        assert torch.get_num_threads() == 4
        monkeypatch.setenv("ASO_SE_REFERENCE", "resnet")
        assert at_once(KINDS, CPU) == 1
        assert at_once(KINDS, torch.device("meta")) == 1
    finally:
        torch.set_num_threads(threads)
