"""What memory the stages take beyond the library's own, by the number of images.

    python benchmarks/memory.py [--images 50000,200000] [--size 64] [--seconds 60] [--only prepare]
    [--folder FOLDER]

Makes a folder of photos for each number (JPEGs, of which many are links to the same file). Runs the
pipeline on a small one; then on each of the others, but warmup, search and growth for so many
seconds at most, and what follows them with the supernet of the small run. Prints the
peak of anonymous memory (what is mapped from files is none: the kernel takes it back at need), in
MiB, and how much that is above the small run's as a part of the bytes of all pixels; then a JSON
line. --only: the first stages, up to this one. Linux only.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from cached import NEEDS, SOURCE
from PIL import Image
from rich.console import Console
from rich.table import Table

from pipeline.running.overrides import compose

SMALL = 400
DIFFERENT = 400
CLASSES = "abcd"
STAGES = {
    "check": (),
    **NEEDS,
    "export": ("prepare", "derive", "reference"),
    "report": ("artifacts",),
}
SEARCHING = ("warmup", "search", "growth")
"""Stages that are not run to their end; those after them read what they wrote in the small run."""
CHANGES: dict[str, Any] = {
    "data.duplicates": "keep",
    "network.cells": 3,
    "network.channels": 4,
    "warmup.epochs": 1,
    "warmup.skip_epochs": 0,
    "search.epochs": 1,
    "growth.epochs": 1,
    "growth.kinds": [],
    "optimize.epochs": 1,
    "reference.kinds": ["majority", "logistic_regression", "nearest_neighbour", "svc", "resnet"],
}
EVERY_SECONDS = 0.02


def make(folder: Path, count: int, size: int) -> None:
    """Write a folder of `count` photos, equally many of each class."""
    noise = np.random.default_rng(0)
    originals = []
    (folder / "originals").mkdir(parents=True)
    for number in range(min(count, DIFFERENT)):
        pixels = noise.integers(0, 256, (size // 4, size // 4, 3), np.uint8)
        originals.append(folder / "originals" / f"{number}.jpg")
        Image.fromarray(pixels).resize((size, size)).save(originals[-1])
    for number in range(count):
        path = folder / "photos" / CLASSES[number % len(CLASSES)] / f"{number:07}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.hardlink_to(originals[number % len(originals)])


def peak_mib(folder: Path, stage: str, arguments: list[Path], seconds: float | None) -> float:
    """Run a stage, for so many seconds at most; return its peak of anonymous memory in MiB."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"stages.{stage}", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(SOURCE), "ASO_SE_RESUME": str(folder / "resume")},
        stdout=sys.stderr,
    )
    peak, began = 0, time.monotonic()
    while process.poll() is None:
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                peak = max(peak, int(line.split()[1]))
        if seconds and time.monotonic() - began > seconds:
            process.terminate()
            process.wait()
            return peak / 1024
        time.sleep(EVERY_SECONDS)
    if process.returncode:
        raise SystemExit(f"{stage}: exit code {process.returncode}")
    return peak / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", default="50000,200000")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--only", choices=STAGES, default="report")
    parser.add_argument("--folder", type=Path, help="by default a temporary one")
    arguments = parser.parse_args()
    counts = [SMALL, *map(int, arguments.images.split(","))]
    stages = list(STAGES)[: list(STAGES).index(arguments.only) + 1]
    measured: dict[str, dict[int, float]] = {stage: {} for stage in stages}
    with TemporaryDirectory(dir=arguments.folder) as place:
        small = Path(place, str(SMALL))
        for count in counts:
            folder = Path(place, str(count))
            make(folder, count, arguments.size)
            changes = {**CHANGES, "data.path": str(folder / "photos")}
            sides = {"data.image_size": arguments.size, "augmentation.cutout": 0}
            text = compose(SOURCE, "image_folder", {**changes, **sides})
            (folder / "params.yaml").write_text(text, encoding="utf-8")
            (folder / "artifacts").mkdir()
            for stage in stages:
                home = small if stage in SEARCHING else folder
                (folder / "artifacts" / stage).symlink_to(home / stage)
            for stage in stages:
                inputs = [(small if one in SEARCHING else folder) / one for one in STAGES[stage]]
                limit = None if count == SMALL or stage not in SEARCHING else arguments.seconds
                paths = [*inputs, folder / stage]
                measured[stage][count] = peak_mib(folder, stage, paths, limit)
            if count != SMALL:
                shutil.rmtree(folder)
    table = Table("stage", *(f"{count:,} images" for count in counts))
    for stage, peaks in measured.items():
        more = {
            count: (peaks[count] - peaks[SMALL]) * 2**20 / (count * arguments.size**2 * 3)
            for count in counts[1:]
        }
        cells = (
            f"{peaks[count]:,.0f} MiB, {part:+.2f} of the pixels" for count, part in more.items()
        )
        table.add_row(stage, f"{peaks[SMALL]:,.0f} MiB", *cells)
    Console().print(table)
    print(json.dumps({"size": arguments.size, "peaks": measured}))


if __name__ == "__main__":
    main()
