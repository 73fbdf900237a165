"""Many images take little memory beyond the library's own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SIDE = 64


def peaks(count: int, *options: str) -> dict[str, dict[str, float]]:
    """Return the peak in MiB of each stage with 400 and with `count` images.

    It is anonymous memory: what is mapped from files, the kernel takes back at need.
    """
    program = [sys.executable, str(ROOT / "benchmarks" / "memory.py"), "--images", str(count)]
    done = subprocess.run(
        [*program, "--size", str(SIDE), *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, float]] = json.loads(done.stdout.splitlines()[-1])["peaks"]
    return found


def growth(of: dict[str, float], count: int) -> float:
    """Return how much the peak grows, as a part of the bytes of all pixels."""
    return (of[str(count)] - of["400"]) * 2**20 / (count * SIDE**2 * 3)


pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="/proc of Linux says what memory is anonymous"
)


def test_prepare_takes_a_part_of_the_pixels() -> None:
    assert growth(peaks(12_000, "--only", "prepare")["prepare"], 12_000) < 0.8


@pytest.mark.slow
def test_200_000_images_take_less_than_a_gib_in_any_stage() -> None:
    found = peaks(200_000, "--seconds", "25")
    assert {"warmup", "search", "growth", "optimize", "reference", "report"} <= found.keys()
    for of in found.values():
        assert of["200000"] < 1024
        assert growth(of, 200_000) < 0.25
