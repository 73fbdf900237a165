"""The stage itself: one command, the same bytes every time, no torch for data that needs none."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.params import DataParams
from pipeline.harness.errors import DataError
from pipeline.prepared.facts import read_facts
from pipeline.prepared.packing import read_split
from stages.prepare import Params, main

ROOT = Path(__file__).resolve().parents[2]
PARAMS = """
seed: 42
data:
  name: digits
  path: images
  image_size: 8
  stored_size:
  fit: crop
  unreadable: refuse
  validation_fraction: 0.3
  test_fraction: 0.2
  duplicates: drop
"""
COMMAND = """
import runpy, sys
runpy.run_module("stages.prepare", run_name="__main__", alter_sys=True)
assert not {"torch", "torchvision"} & set(sys.modules)
"""


def params(name: str) -> Params:
    data = {
        "name": name,
        "path": "images",
        "image_size": 8,
        "validation_fraction": 0.3,
        "test_fraction": 0.2,
    }
    return Params(seed=42, data=DataParams.model_validate(data))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_two_processes_write_the_same_bytes_and_need_no_torch(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(PARAMS)
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "artifacts/prepare"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=False,
    )
    expected = "prepare: digits, 10 classes: 1005 training, 432 validation, 360 test images\n"
    assert (done.stderr, done.stdout, done.returncode) == ("", expected, 0)
    written = contents(tmp_path / "artifacts/prepare")
    assert set(written) == {"dataset.json", "images.safetensors"}
    main(params("digits"), tmp_path / "again")
    assert contents(tmp_path / "again") == written


def test_photos_are_padded_where_asked_and_the_facts_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, level in (("cat", 100), ("dog", 200)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(10):
            pixels = np.full((6, 12, 3), level + number, np.uint8)
            Image.fromarray(pixels).save(f"images/{name}/{number}.png")
    asked = params("image_folder").data.model_copy(update={"fit": "pad"})
    main(Params(seed=42, data=asked), tmp_path / "out")
    assert read_facts(tmp_path / "out").fit == "pad"
    images = read_split(tmp_path / "out", "train").images
    assert not images[:, :2].any()
    assert images[:, 2:6].all()
    assert not images[:, 6:].any()


def test_nothing_is_written_where_the_images_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="images: no such folder"):
        main(params("image_folder"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
