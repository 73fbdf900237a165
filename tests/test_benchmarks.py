"""The benchmarks run: their imports resolve, and the smallest of each kind gives figures."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = sorted(
    path.name
    for path in (ROOT / "benchmarks").glob("*.py")
    if "__main__" in path.read_text(encoding="utf-8")
)
SMALL = ("--channels", "4", "--cells", "3", "--nodes", "1", "--batch", "4", "--size", "8")


def run(name: str, *arguments: str) -> str:
    command = [sys.executable, f"benchmarks/{name}", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, text=True, capture_output=True).stdout


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_says_how_it_is_used(name: str) -> None:
    assert name in run(name, "--help")


@pytest.mark.parametrize("side", ["fixed", "ours", "ours gate", "gdas nchw", "darts"])
def test_every_schedule_of_the_step_benchmark_makes_its_steps(side: str) -> None:
    out = run("step.py", *SMALL, "--rounds", "1", "--only", side)
    assert json.loads(out)["peak_mib"] > 0
