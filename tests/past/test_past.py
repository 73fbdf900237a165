"""Files of earlier versions are read, or refused by name."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from pipeline.harness.errors import AsoSeError, CheckpointError
from pipeline.predicting import show
from pipeline.prepared.facts import SPLITS
from pipeline.prepared.names import read_names
from pipeline.prepared.packing import read_split
from pipeline.space.checkpoint import read_checkpoint
from pipeline.training.fitting import fitting
from pipeline.training.resume import Points
from tests.past.write import RUN, phase_of_past, write

HERE = Path(__file__).parent
VERSIONS = sorted(path for path in HERE.iterdir() if path.name.isdecimal())
REFUSED = r"format \d+, this version reads \d+|with other params, inputs or code|not a resume point"


def read_data_set(folder: Path) -> None:
    for split in SPLITS:
        assert len(read_split(folder / "prepare", split)) == 6
        names = read_names(folder / "prepare", split)
        assert names is not None
        assert names[5] == f"{split}/5.png"


def read_network(folder: Path) -> None:
    found = read_checkpoint(folder / "checkpoint.safetensors")
    found.require_fit("growth", channels=3, classes=3)
    assert (found.fact("epoch"), found.fact("temperature")) == (5, 0.5)
    assert found.searched().std() > 0
    assert torch.stack([weight.abs().sum() for weight in found.network.parameters()]).sum() > 1


def read_point(folder: Path) -> None:
    points, phase = Points("warmup", folder / "resume", RUN), phase_of_past()
    saved, rows = points.newest()
    if saved is None:
        raise CheckpointError("passed over")  # why is printed
    state = fitting(phase.resumed, saved, rows, points)
    assert [row["epoch"] for row in phase.train(state, 1.0, rows)] == [2, 3]


def read_model(folder: Path) -> None:
    Image.new("RGB", (8, 8), (200, 100, 50)).save(folder / "image.png")
    assert show(folder / "model.onnx", [str(folder / "image.png")], top=3, as_json=False) == 0


READERS: dict[str, Callable[[Path], None]] = {
    "data set": read_data_set,
    "checkpoint": read_network,
    "resume point": read_point,
    "model": read_model,
}


@pytest.mark.parametrize("version", VERSIONS, ids=lambda path: path.name)
@pytest.mark.parametrize("kind", READERS)
def test_a_file_of_an_earlier_version_is_read_or_refused_by_name(
    kind: str,
    version: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = Path(shutil.copytree(version, tmp_path / "past"))
    refused = ""
    try:
        READERS[kind](folder)
    except AsoSeError as error:
        refused = f"{error}{capsys.readouterr().out}"
    assert not refused or version != VERSIONS[-1], "files of this version are read"
    assert not refused or re.search(REFUSED, refused)


def test_the_newest_files_are_as_this_version_writes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "new")
    made = {path.relative_to(tmp_path / "new") for path in (tmp_path / "new").rglob("*.*")}
    kept = {path.relative_to(VERSIONS[-1]) for path in VERSIONS[-1].rglob("*.*")}
    assert made == kept
    for name in ("dataset.json", "names.json", "images.safetensors"):
        written = (tmp_path / "new/prepare" / name).read_bytes()
        assert written == (VERSIONS[-1] / "prepare" / name).read_bytes(), name


def test_they_are_small() -> None:
    files = [path for path in HERE.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert sum(path.stat().st_size for path in files) < 300_000
