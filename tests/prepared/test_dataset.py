"""What `prepare` writes is read back to the bit, or refused by name."""

import json
import shutil
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.batches.images import read_images
from pipeline.harness.errors import DataError
from pipeline.prepared.facts import CHECKSUM, checksum, read_facts
from pipeline.prepared.labelled import Labelled, Splits
from pipeline.prepared.packing import write_dataset

CLASSES = ("cat", "Hündin")
FILES = ("dataset.json", "train.safetensors", "validation.safetensors", "test.safetensors")
SPLITS: tuple[Literal["train", "validation", "test"], ...] = ("train", "validation", "test")


def labelled(count: int, channels: int = 3) -> Labelled:
    generator = np.random.default_rng(count)
    images = generator.integers(0, 256, (count, 5, 4, channels), dtype=np.uint8)
    return Labelled(images=images, labels=np.arange(count) % 2)


def write(folder: Path, channels: int = 3) -> Splits:
    splits = Splits(
        train=labelled(7, channels), validation=labelled(4, channels), test=labelled(3, channels)
    )
    statistics = tuple(0.1 * (channel + 1) for channel in range(channels))
    write_dataset(
        folder, name="pets", classes=CLASSES, splits=splits, mean=statistics, std=statistics
    )
    return splits


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepare")
    write(folder)
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(written, tmp_path / "prepare"))


def test_facts_are_read_back(written: Path) -> None:
    facts = read_facts(written)
    assert (facts.name, facts.classes) == ("pets", CLASSES)
    assert (facts.height, facts.width, facts.channels) == (5, 4, 3)
    assert facts.mean == facts.std == (0.1, 0.2, 0.1 * 3)
    assert facts.counts["train"] == {"cat": 4, "Hündin": 3}
    assert sum(facts.counts["test"].values()) == 3


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_read_back_as_channels_last(channels: int, tmp_path: Path) -> None:
    splits = write(tmp_path, channels)
    for name, split in zip(SPLITS, (splits.train, splits.validation, splits.test), strict=True):
        images = read_images(tmp_path, name, "cpu")
        assert np.array_equal(images.pixels.permute(0, 2, 3, 1).numpy(), split.images)
        assert images.pixels.is_contiguous(memory_format=torch.channels_last)
        assert images.labels.tolist() == split.labels.tolist()
        assert images.labels.dtype == torch.int64
        assert images.mean.dtype == images.std.dtype == torch.float32
        assert images.mean.tolist() == pytest.approx(read_facts(tmp_path).mean)


def test_the_same_splits_give_the_same_bytes(written: Path, tmp_path: Path) -> None:
    write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (written / name).read_bytes()


def read_all(folder: Path) -> None:
    for split in SPLITS:
        read_images(folder, split, "cpu")


def refusal(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_all(folder)
    line = str(caught.value)
    assert "\n" not in line
    assert line.endswith("; run 'dvc repro --force prepare' to write it again")
    return line


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(name: str, folder: Path) -> None:
    (folder / name).unlink()
    assert refusal(folder).startswith(
        f"{folder / name}: cannot be read: No such file or directory;"
    )


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("length", [0, 7, 100])
def test_a_truncated_file_is_named(name: str, length: int, folder: Path) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:length])
    assert refusal(folder).startswith(f"{folder / name}: ")


def test_a_split_in_the_place_of_another_is_refused(folder: Path) -> None:
    shutil.copy(folder / "train.safetensors", folder / "test.safetensors")
    expected = (
        f"{folder}/test.safetensors: damaged (its checksum differs from that in dataset.json)"
    )
    assert refusal(folder).startswith(expected)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(FILES), at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_single_flipped_bit_is_refused(
    name: str, at: int, bit: int, written: Path, folder: Path
) -> None:
    content = bytearray((written / name).read_bytes())
    content[at % len(content)] ^= 1 << bit
    (folder / name).write_bytes(content)
    assert refusal(folder).startswith(f"{folder / name}: ")
    shutil.copy(written / name, folder / name)


@pytest.mark.parametrize("content", ["[]", "3", "{}", '{"format": 1}', "[" * 100_000, "null"])
def test_foreign_facts_are_refused(content: str, folder: Path) -> None:
    (folder / "dataset.json").write_text(content)
    assert refusal(folder).startswith(f"{folder}/dataset.json: ")


def test_facts_edited_by_hand_are_refused(folder: Path) -> None:
    path = folder / "dataset.json"
    path.write_text(path.read_text().replace("0.1", "0.3", 1))
    assert refusal(folder).startswith(f"{path}: damaged or edited (its checksum differs)")


def test_facts_of_another_format_are_refused(folder: Path) -> None:
    path = folder / "dataset.json"
    document = json.loads(path.read_text())
    del document[CHECKSUM]
    document["format"] = 2
    path.write_text(json.dumps({**document, CHECKSUM: checksum(document)}))
    assert refusal(folder).startswith(f"{path}: format 2, this version reads 1;")
