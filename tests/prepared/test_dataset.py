"""What `prepare` writes is read back to the bit, or refused by name."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.batches.images import read_images
from pipeline.harness.errors import DataError
from pipeline.prepared.facts import CHECKSUM, SPLITS, Split, checksum, read_facts
from pipeline.prepared.labelled import Labelled, Splits
from pipeline.prepared.names import read_names
from pipeline.prepared.packing import read_split, write_dataset

CLASSES = ("cat", "Hündin")
FILES = ("dataset.json", "images.safetensors", "names.json")
LAST_FIRST = np.array([2, 1, 0])


def labelled(count: int, channels: int = 3) -> Labelled:
    generator = np.random.default_rng(count)
    images = generator.integers(0, 256, (count, 5, 4, channels), dtype=np.uint8)
    names = tuple(f"{count}/Löwe {number}.png" for number in range(count))
    return Labelled(images=images, labels=np.arange(count) % 2, names=names)


def write(folder: Path, channels: int = 3, *, named: bool = True) -> Splits:
    train, validation, test = (labelled(count, channels) for count in (7, 4, 3))
    if not named:
        train, validation, test = (replace(one, names=None) for one in (train, validation, test))
    splits = Splits(train=train, validation=validation, test=test)
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
    assert (facts.height, facts.width, facts.channels, facts.fit) == (5, 4, 3, "crop")
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


@pytest.mark.parametrize(("first", "last"), [("train", "validation"), ("validation", "test")])
def test_splits_that_follow_each_other_are_read_as_one(
    first: Split, last: Split, written: Path
) -> None:
    both = read_images(written, first, "cpu", through=last)
    parts = [read_images(written, split, "cpu") for split in (first, last)]
    assert torch.equal(both.pixels, torch.cat([one.pixels for one in parts]))
    assert torch.equal(both.labels, torch.cat([one.labels for one in parts]))


def test_the_file_of_images_is_one_of_safetensors(written: Path) -> None:
    arrays = safetensors.numpy.load_file(written / "images.safetensors")
    parts = [read_split(written, split) for split in SPLITS]
    assert np.array_equal(arrays["images"], np.concatenate([one.images for one in parts]))
    assert np.array_equal(arrays["labels"], np.concatenate([one.labels for one in parts]))


def test_images_are_mapped_not_read_and_writing_to_them_changes_no_file(written: Path) -> None:
    before = (written / "images.safetensors").read_bytes()
    images = read_split(written, "train").images
    assert isinstance(images, np.memmap)
    images[:] = 7
    assert (written / "images.safetensors").read_bytes() == before


def test_names_are_read_back_in_the_order_of_the_images(written: Path, tmp_path: Path) -> None:
    splits = write(tmp_path)
    for name, split in zip(SPLITS, (splits.train, splits.validation, splits.test), strict=True):
        assert read_names(written, name) == split.names


def test_images_without_files_have_no_names(tmp_path: Path) -> None:
    write(tmp_path, named=False)
    assert not (tmp_path / "names.json").exists()
    assert read_names(tmp_path, "train") is None


def test_taken_images_keep_their_labels_and_names() -> None:
    every = labelled(7)
    some = every.take(np.array([5, 2, 4])).take(np.array([2, 0]))
    assert some.names == ("7/Löwe 4.png", "7/Löwe 5.png")
    assert some.labels.tolist() == [0, 1]
    assert np.array_equal(np.concatenate(list(some.chunks())), every.images[[4, 5]])


def read_all(folder: Path) -> None:
    for split in SPLITS:
        read_images(folder, split, "cpu")
        read_names(folder, split)


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


def test_the_images_of_another_data_set_are_refused(folder: Path, tmp_path: Path) -> None:
    write_dataset(
        tmp_path / "other",
        name="pets",
        classes=CLASSES,
        splits=Splits(train=labelled(7), validation=labelled(4), test=labelled(3).take(LAST_FIRST)),
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
    )
    shutil.copy(tmp_path / "other" / "images.safetensors", folder)
    expected = f"{folder}/images.safetensors: damaged (its checksum differs from that in dataset"
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
    document["format"] = 3
    path.write_text(json.dumps({**document, CHECKSUM: checksum(document)}))
    assert refusal(folder).startswith(f"{path}: format 3, this version reads 2;")
