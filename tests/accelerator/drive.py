"""Runs stages, or phases, on the pretended accelerator, in a process of its own.

    python -m tests.accelerator.drive stages PROFILE FREE_BYTES
    python -m tests.accelerator.drive phases MOST_IMAGES NAME...
    python -m tests.accelerator.drive autocast MOST_IMAGES NAME...
    python -m tests.accelerator.drive launches PROFILE

Torch keeps a device once it knows it, so no other test may share the process. Runs in the current
folder, `launches` in one of its own, with a whole network of the profile. Memory runs out for
convolutions of more than MOST_IMAGES. With `autocast` each weight is cast by itself. Prints a JSON
line for each stage or phase: its name, and what each function did in it.
"""

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline.batches.images import Images
from pipeline.supernet.supernet import SupernetContext
from pipeline.training.halves import Halves
from pipeline.training.loop import run
from pipeline.training.resume import Points
from stages import here
from tests import phases
from tests.accelerator.backend import install, pretended
from tests.accelerator.pretended import LOG, NAME
from tests.accelerator.pretended import here as device
from tests.conftest import context, write_noise, write_supernet
from tests.test_every_profile import SHRUNK

TRAINING = ("warmup", "search", "growth", "optimize", "derive", "reference")


def run_stages(profile: str, free_bytes: int) -> None:
    """Run all stages that compute on a device."""
    write_noise(Path("prepare"), training=24, validation=16)
    with pretended(free_bytes=free_bytes):
        for name in TRAINING:
            LOG.clear()
            here.run(SHRUNK, Path(), profile=profile, stages=[name])
            tell(name)


def run_whole(profile: str) -> None:
    """Run the phases with a network that is not shrunk, for an epoch or two each."""
    changes = {
        "augmentation.cutout": 0,
        "training.batch_size": 8,
        "training.evaluation_batch_size": 8,
        "warmup.epochs": 2,
        "warmup.skip_epochs": 0,
        "search.epochs": 1,
        "growth.epochs": 1,
        "optimize.epochs": 2,
    }
    with TemporaryDirectory() as folder, contextlib.chdir(folder), pretended():
        write_noise(Path("prepare"), training=80, validation=16)
        for name in ("warmup", "search", "growth", "optimize"):
            LOG.clear()
            here.run(changes, Path(), profile=profile, stages=[name])
            tell(name)


def run_phases(most_images: int, names: Sequence[str]) -> None:
    """Run each phase, then once more from the point before its last epoch."""
    checkpoint = write_supernet(Path("checkpoint.safetensors"))
    with pretended():
        given = there(context())
        phases.context = lambda: given
        phases.TAUGHT = phases.TAUGHT.to(device())
        for name in names:
            LOG.clear()
            LOG.most_images = most_images
            points = Points("phase", Path(name))
            _, history = run(phases.PHASES[name](checkpoint), points)
            tell(name, history=history)
            max(points.folder.glob("*.safetensors")).unlink()
            assert run(phases.PHASES[name](checkpoint), points)[1] == history


def tell(name: str, **more: object) -> None:
    """Print what was done."""
    sys.stdout.write(json.dumps([name, LOG.summary() | more]) + "\n")
    sys.stdout.flush()


def there(given: SupernetContext) -> SupernetContext:
    """Return a context with its images on the device."""
    return replace(given, images=moved(given.images), validation=moved(given.validation))


def moved(images: Images) -> Images:
    """Return images on the device."""
    names: tuple[Any, ...] = ("pixels", "labels", "mean", "std")
    return replace(images, **{one: getattr(images, one).to(device()) for one in names})


if __name__ == "__main__":
    os.environ["ASO_SE_DEVICE"] = NAME
    kept = install()
    kind, first, *rest = sys.argv[1:]
    if kind == "stages":
        run_stages(first, int(rest[0]))
    elif kind == "launches":
        run_whole(first)
    else:
        if kind == "autocast":
            Halves.of = lambda _: Halves(layers=[], weights=[], copies=[], constants=[])  # type: ignore[method-assign]
        run_phases(int(first), rest)
