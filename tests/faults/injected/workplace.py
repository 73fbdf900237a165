"""A small project in which stages run, fail, and run again."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[3]
INJECTED = Path(__file__).parent
COMMANDS = {
    name: stage["cmd"].removeprefix("exec python -m ").split()
    for name, stage in YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"].items()
}
"""Stage -> the words after `python -m`."""
TRAINED = ("warmup", "search", "growth", "optimize")
OLD = b"of an earlier run"
TINY: dict[str, dict[str, Any]] = {
    "data": {"name": "image_folder"},
    "network": {"cells": 3, "nodes": 1, "channels": 4, "stem_multiplier": 1},
    "training": {"batch_size": 8, "sampled_paths": 1, "statistics_batches": 1},
    "warmup": {"epochs": 3, "skip_epochs": 1},
    "search": {"epochs": 3, "arch_update_freq": 2},
    "growth": {"epochs": 4, "patience": 1, "min_improvement": 0.9, "settle": 1, "tolerance": 0.9},
    "optimize": {"epochs": 3},
    "reference": {"kinds": ["majority", "resnet"]},
    "export": {"max_difference": 1.0},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a stage ended; the code is negative if a signal ended it."""

    code: int
    output: str
    errors: str


@dataclass(slots=True)
class Workplace:
    """A project whose stages have all run once, without a fault; the next fault is in one of them.

    whole: stage -> file -> content after that run. written: stage -> files that it renames into
    place, in this order, with resume points and progress. steps: stage -> number of training steps.
    traces: stage -> what it did to files in that run, such as "mkdir artifacts/warmup".
    """

    folder: Path
    forks: subprocess.Popen[str]
    whole: dict[str, dict[str, bytes]] = field(default_factory=dict)
    written: dict[str, list[Path]] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    traces: dict[str, list[str]] = field(default_factory=dict)

    def run(self, stage: str, fault: str = "") -> Ended:
        """Run a stage."""
        assert self.forks.stdin
        assert self.forks.stdout
        self.forks.stdin.write(json.dumps({"words": COMMANDS[stage], "fault": fault}) + "\n")
        self.forks.stdin.flush()
        return Ended(**json.loads(self.forks.stdout.readline()))

    def trace(self, stage: str) -> list[str]:
        """Return what a stage does to files when it runs again."""
        self.rewind(stage)
        return self.run(stage, "trace").errors.splitlines()

    def artifacts(self, stage: str) -> dict[str, bytes]:
        """Return all files that a stage has left, hidden ones too."""
        folder = self.folder / "artifacts" / stage
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }

    def points(self, stage: str) -> list[Path]:
        """Return the existing resume points, the newest last."""
        found = self.folder.glob(f".aso-se/resume/{stage}-*/*.safetensors")
        return sorted(path.relative_to(self.folder) for path in found)

    def partials(self) -> list[Path]:
        """Return the files left by interrupted writes."""
        return list(self.folder.rglob("*.partial"))

    def rewind(self, stage: str) -> None:
        """Restore the state before a stage ran: its outputs are those of an earlier run."""
        shutil.rmtree(self.folder / ".aso-se", ignore_errors=True)
        (self.folder / ".aso-se").mkdir()
        shutil.rmtree(self.folder / "artifacts" / stage)
        (self.folder / "artifacts" / stage).mkdir()
        for name in self.whole[stage]:
            path = self.folder / "artifacts" / stage / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(OLD)


@contextmanager
def workplace(folder: Path) -> Iterator[Workplace]:
    """Make a workplace in an empty folder."""
    for name in ("pipeline", "stages"):
        (folder / name).symlink_to(ROOT / name)
    params = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
    for section, changes in TINY.items():
        params[section].update(changes)
    (folder / "params.yaml").write_text(json.dumps(params))
    _draw_images(folder / "data")
    with subprocess.Popen(
        [sys.executable, INJECTED / "forking.py"],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as forks:
        made = Workplace(folder, forks)
        for stage in COMMANDS:
            done = made.run(stage, "trace")
            assert done.code == 0, done.errors
            made.traces[stage] = lines = done.errors.splitlines()
            made.written[stage] = [Path(line[7:]) for line in lines if line.startswith("rename ")]
            made.steps[stage] = lines.count("step ")
            made.whole[stage] = made.artifacts(stage)
        yield made
        assert forks.stdin
        forks.stdin.close()


def _draw_images(folder: Path) -> None:
    source = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(16):
            pixels = source.integers(256, size=(8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
