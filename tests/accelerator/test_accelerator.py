"""The engine on a pretended accelerator: nothing is refused, and no step waits for it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.accelerator.backend import ROOMY
from tests.accelerator.pretended import ANY
from tests.phases import PHASES

pytestmark = pytest.mark.xdist_group("accelerator")
ROOT = Path(__file__).parents[2]
WAITS = {"weight_step": 0, "training_batches": 0, "architecture_step": 1, "compare": 1}
"""Most waits for the device in one call: the gradient of the logits, and agreements, leave it."""
LAUNCHES = {"weight_step": 300, "training_batches": 150, "architecture_step": 850, "compare": 450}
"""Most launches on the device in one call, for the tiny networks."""
LARGER = {"search of mixtures": 700, "growth of all kinds": 550, "optimize with everything": 475}
"""Most launches of a weight step in phases that run more than one path, or more beside it."""
SUMS = 2
"""Sums of an evaluation that the host reads at its end."""
KINDS = 2
"""Kinds of numbers in a state, each of which leaves the device in one copy."""

Done = dict[str, dict[str, Any]]
"""What each function of the engine did."""


def driven(folder: Path, *arguments: str) -> tuple[dict[str, Done], str]:
    """Run stages or phases on the device; return what was done in each, and all that was said."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.accelerator.drive", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith('["')]
    return dict(json.loads(line) for line in lines), done.stdout


@pytest.fixture(scope="module")
def phases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Done]:
    """What was done in each phase, with every option, and after it was resumed."""
    done, _ = driven(tmp_path_factory.mktemp("phases"), "phases", str(ANY), *PHASES)
    return done


@pytest.mark.parametrize("name", PHASES)
def test_no_step_waits_for_the_device(name: str, phases: dict[str, Done]) -> None:
    done = phases[name]
    assert done["weight_step"]["calls"] > 1
    for function, most in {**WAITS, "evaluate": SUMS, "evaluate_paths": SUMS}.items():
        if function in done:
            assert done[function]["waits"] <= most, (function, done[function]["lines"])


@pytest.mark.parametrize("name", PHASES)
def test_a_step_launches_no_more_than_is_known(name: str, phases: dict[str, Done]) -> None:
    limits = LAUNCHES | ({"weight_step": LARGER[name]} if name in LARGER else {})
    for function, most in limits.items():
        if function in phases[name]:
            assert most / 20 < phases[name][function]["launches"] <= most


def test_weights_that_are_cast_at_once_give_the_same_bits_with_fewer_launches(
    phases: dict[str, Done], tmp_path: Path
) -> None:
    names = ["search", "growth of all kinds", "optimize with everything"]
    apart, _ = driven(tmp_path, "autocast", str(ANY), *names)
    for name in names:
        assert phases[name]["history"] == apart[name]["history"]
        for function in {"weight_step", "architecture_step"} & apart[name].keys():
            together = phases[name][function]["launches"]
            assert together < 0.95 * apart[name][function]["launches"]


@pytest.mark.parametrize("name", PHASES)
def test_a_state_leaves_the_device_in_one_copy_of_each_kind(
    name: str, phases: dict[str, Done]
) -> None:
    lines = phases[name][""]["lines"]
    copies = [number for line, number in lines.items() if "pipeline/space/checkpoint.py" in line]
    assert 0 < sum(copies) <= KINDS * len(phases[name]["history"])


@pytest.mark.parametrize(
    ("profile", "free_bytes"), [("nasbench201", ROOMY), ("image_folder", 1000)]
)
def test_every_stage_of_another_space_runs(profile: str, free_bytes: int, tmp_path: Path) -> None:
    done, said = driven(tmp_path, "stages", profile, str(free_bytes))
    assert list(done) == ["warmup", "search", "growth", "optimize", "derive", "reference"]
    for name in done.keys() - {"derive"}:
        for function in ("weight_step", "training_batches"):
            assert done[name][function]["waits"] == 0, done[name][function]["lines"]
    stays = "of images stay in host memory, pretended:0 is too small" in said
    assert stays == (free_bytes < ROOMY)


def test_a_batch_for_which_memory_runs_out_is_divided(tmp_path: Path) -> None:
    names = ["search", "optimize with everything"]
    done, said = driven(tmp_path, "phases", "5", *names)
    assert list(done) == names
    assert "out of memory: going on with 4 images at a time" in said


def test_parts_of_larger_images_that_do_not_fit_are_cut_on_the_host() -> None:
    program = (
        "import torch\nfrom dataclasses import replace\n"
        "from tests.accelerator.backend import install, pretended\n"
        "from tests.accelerator.drive import moved\n"
        "from tests.conftest import random_images, tiny\n"
        "from pipeline.batches.batches import training_batches\n"
        "from pipeline.batches.params import AugmentationParams\nkept = install()\n"
        "with pretended():\n"
        "    larger = random_images(size=16).pixels\n"
        "    images = replace(moved(random_images()), larger=larger)\n"
        "    asked = tiny(AugmentationParams, zoom=0.5)\n"
        "    for batch, _ in training_batches(\n"
        "        images, batch_size=8, augmentation=asked, seed=0, purpose=('test', 1)\n"
        "    ):\n        print(batch.device, tuple(batch.shape))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["pretended:0 (8, 3, 8, 8)"] * 3, done.stderr


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("torch.ones(2, device=here()) + torch.ones(2)", "add: tensors of two devices at a test"),
        (
            "torch.rand(2, generator=torch.Generator().manual_seed(0), device=here())",
            "rand: a generator of cpu at a test",
        ),
        ("float(torch.ones(1, device=here())); print(LOG.summary())", "'waits': 1"),
    ],
)
def test_what_the_tests_above_forbid_is_seen(code: str, told: str) -> None:
    program = (
        "import torch\nfrom tests.accelerator.backend import install, pretended\n"
        "from tests.accelerator.pretended import LOG, here\nkept = install()\n"
        f"with pretended():\n    {code}"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert told in (done.stderr or done.stdout).splitlines()[-1]
