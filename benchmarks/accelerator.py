"""What an accelerator makes of the method, in one command.

    python benchmarks/accelerator.py [--images 25000] [--batches 256,1024] [--out accelerator.json]

Needs neither DVC nor Prefect. `ASO_SE_DEVICE` names the device; `ASO_SE_COMPILE=1` with `--parts
speed` says what compiling optimize gains. Five parts, each of them written to `--out` as soon as it
is known; what fails in one is its result, and the others follow:

- `stages`: each profile, shrunk, through all stages that compute on the device.
- `speed`: images/s of the second epoch of warmup, search and optimize, by batch size, and peak
  memory; profile cifar10, on images of noise.
- `methods`: `step.py`: seconds of 50,000 images of our search, of GDAS and of DARTS in one run.
- `operators`: the operators that take most time in 20 steps of a search, launches per step, and
  for which part of the stage's seconds the device is busy.
- `repeat`: whether a search that is run twice gives the same bytes.
"""

import argparse
import contextlib
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from pipeline.devices.device import choose_device, compiles, precision_of
from pipeline.prepared.labelled import Labelled, Splits
from pipeline.prepared.packing import write_dataset
from stages.here import run

ROOT = Path(__file__).resolve().parents[1]
TRAINING = ("warmup", "search", "growth", "optimize")
ON_DEVICE = (*TRAINING, "derive", "reference")
SHORT = {
    "data.image_size": 32,
    "augmentation.cutout": 8,
    "warmup.epochs": 2,
    "warmup.skip_epochs": 0,
    "search.epochs": 2,
    "growth.epochs": 1,
    "growth.kinds": [],
    "optimize.epochs": 2,
    "training.statistics_batches": 2,
}
SHRUNK = {
    **SHORT,
    "network.cells": 3,
    "network.channels": 4,
    "training.batch_size": 16,
    "training.evaluation_batch_size": 32,
    "growth.epochs": 6,
    "growth.kinds": ["deepen", "widen"],
    "growth.patience": 1,
    "growth.settle": 1,
    "growth.min_improvement": 0.9,
    "growth.tolerance": 0.9,
    "growth.max_cells": 4,
    "growth.max_channels": 6,
    "optimize.use_validation": False,
    "reference.kinds": ["majority", "resnet", "random_architecture"],
}
STEPS = 20
OPERATORS = 15
LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "hipLaunchKernel")
"""Beginnings of the names of calls that launch something."""
METHODS = ("ours", "ours gate", "gdas", "gdas nchw", "darts", "darts nchw")
Done = dict[str, Any]


@contextlib.contextmanager
def within(images: int, size: int = 32) -> Iterator[None]:
    """Enter an empty folder with a data set of random images of 10 classes."""
    source = np.random.default_rng(0)

    def noise(count: int) -> Labelled:
        return Labelled(
            images=source.integers(0, 256, (count, size, size, 3), dtype=np.uint8),
            labels=np.arange(count) % 10,
        )

    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write_dataset(
            Path("prepare"),
            name="noise",
            classes=tuple("abcdefghij"),
            splits=Splits(train=noise(images), validation=noise(images), test=noise(200)),
            mean=(0.5,) * 3,
            std=(0.29,) * 3,
        )
        try:
            yield
        finally:
            os.chdir(before)


def stages(_: argparse.Namespace) -> Done:
    """Run each profile through its stages; return the seconds of each."""
    found = {}
    for path in sorted((ROOT / "profiles").glob("*.yaml")):
        began = time.perf_counter()
        with within(64):
            run(SHRUNK, Path(), profile=path.stem, stages=ON_DEVICE)
        found[path.stem] = round(time.perf_counter() - began, 1)
    return {"seconds": found}


def speed(arguments: argparse.Namespace) -> Done:
    """Return images/s of the second epoch of each phase and peak bytes, by batch size."""
    found: Done = {}
    for batch in arguments.batches:
        changes = {**SHORT, "training.batch_size": batch}
        with within(arguments.images):
            for name in TRAINING:
                if torch.cuda.is_available():
                    torch.cuda.reset_peak_memory_stats()
                run(changes, Path(), profile="cifar10", stages=[name])
                row = last_row(name)
                found.setdefault(name, {})[str(batch)] = {
                    "images_per_second": float(row["images_per_second"]),
                    "peak_device_mib": int(row["peak_device_bytes"]) / 2**20,
                }
    return found


def last_row(name: str) -> dict[str, str]:
    """Return how the last epoch of a stage went."""
    with Path(f".aso-se/progress/{name}.tsv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file, dialect="excel-tab"))[-1]


def methods(arguments: argparse.Namespace) -> Done:
    """Return the seconds of 50,000 images of each method."""
    command = [sys.executable, str(ROOT / "benchmarks/step.py"), "--device", arguments.device]
    command += ["--batch", str(arguments.batches[0]), "--rounds", str(arguments.rounds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    measured = json.loads(done.stdout.splitlines()[-1])
    return {
        side: {
            "seconds": 50_000 * measured["seconds_per_image"][side],
            "times_ours": measured["times_ours"][side],
            "peak_mib": measured["peak_mib"][side],
        }
        for side in METHODS
    }


def operators(arguments: argparse.Namespace) -> Done:
    """Return the seconds of the slowest operators of a search, and launches per step."""
    batch = arguments.batches[0]
    changes = {**SHORT, "training.batch_size": batch, "warmup.epochs": 1, "search.epochs": 1}
    activities = [ProfilerActivity.CPU]
    activities += [ProfilerActivity.CUDA] if torch.cuda.is_available() else []
    with within(STEPS * batch):
        run(changes, Path(), profile="cifar10", stages=["warmup"])
        with profile(activities=activities) as profiled:
            began = time.perf_counter()
            run(changes, Path(), profile="cifar10", stages=["search"])
            took = time.perf_counter() - began
    on_device = torch.cuda.is_available()
    events = profiled.key_averages()

    def seconds(event: Any) -> float:
        return float(event.self_device_time_total if on_device else event.self_cpu_time_total) / 1e6

    slowest = sorted(events, key=seconds, reverse=True)[:OPERATORS]
    # On a device, an operator and the kernels that it launches are events of the same seconds.
    kernels = [event for event in events if not on_device or event.device_type != DeviceType.CPU]
    return {
        "busy": sum(map(seconds, kernels)) / took,
        "seconds": {event.key: seconds(event) for event in slowest},
        "launches_per_step": sum(e.count for e in events if e.key.startswith(LAUNCHES)) / STEPS,
    }


def repeat(_: argparse.Namespace) -> Done:
    """Return whether two runs of warmup and search give the same bytes."""
    found = []
    for _number in range(2):
        with within(256):
            run(SHRUNK, Path(), profile="cifar10", stages=["warmup", "search"])
            found.append(Path("search/checkpoint.safetensors").read_bytes())
    return {"same_bytes": found[0] == found[1]}


PARTS: dict[str, Callable[[argparse.Namespace], Done]] = {
    "stages": stages,
    "speed": speed,
    "methods": methods,
    "operators": operators,
    "repeat": repeat,
}


def shown(found: Done) -> Table:
    """Return a table of all parts: a row for each figure."""
    table = Table("part", "what", "result")

    def add(part: str, what: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                add(part, f"{what} {key}".strip(), inner)
        else:
            table.add_row(part, what, f"{value:.4g}" if isinstance(value, float) else str(value))

    for part, value in found.items():
        add(part, "", value)
    return table


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=25_000, help="training images of `speed`")
    parser.add_argument("--batches", default="256,1024", help="batch sizes")
    parser.add_argument("--rounds", type=int, default=6, help="rounds of step.py")
    parser.add_argument("--parts", default=",".join(PARTS), help="what to measure")
    parser.add_argument("--out", type=Path, default=Path("accelerator.json"))
    arguments = parser.parse_args()
    arguments.batches = [int(one) for one in arguments.batches.split(",")]
    out = arguments.out.resolve()
    device = choose_device()
    arguments.device = str(device)
    properties = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    machine = {
        "device": properties,
        "precision": precision_of(device),
        "compiling": compiles(),
        "torch": torch.__version__,
        "python": sys.version.split()[0],
    }
    found: Done = {"machine": machine}
    for name in arguments.parts.split(","):
        began = time.perf_counter()
        try:
            found[name] = PARTS[name](arguments)
        except Exception as error:  # noqa: BLE001 - time on a GPU is lent: the others follow
            found[name] = {"failed": f"{type(error).__name__}: {error}"}
        found[name]["taken_seconds"] = round(time.perf_counter() - began, 1)
        out.write_text(json.dumps(found, indent=2) + "\n")
    Console(stderr=True).print(shown(found))
    print(json.dumps(found))
    sys.exit(any("failed" in part for part in found.values()))


if __name__ == "__main__":
    main()
