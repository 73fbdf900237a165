"""A folder of images is read in one order; every mistake in it is one line that names the path."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.harness.errors import DataError
from pipeline.photos.decoding import read_image
from tests.data.drawing import pixels, read_folder


def make(*images: Path) -> None:
    """Write an image at each path, each with a different grey."""
    for level, path in enumerate(images):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6 + level, 5), (level, level, level)).save(path, "PNG")


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    """Two classes of two images."""
    folder = tmp_path / "animals"
    make(*(folder / name for name in ("cat/1.png", "cat/2.png", "dog/10.png", "dog/9.png")))
    return folder


@pytest.fixture
def parted(tmp_path: Path) -> Path:
    """Two classes, each with a test image."""
    folder = tmp_path / "parted"
    images = ("train/cat/1.png", "train/dog/2.png", "test/cat/3.png", "test/dog/4.png")
    make(*(folder / name for name in images))
    return folder


def test_class_folders_are_read_as_training_images(animals: Path) -> None:
    source = read_folder(animals, 4)
    assert source.name == "image_folder"
    assert source.classes == ("cat", "dog")
    assert source.train.images.shape == (4, 4, 4, 3)
    assert pixels(source.train)[:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    assert source.train.labels.tolist() == [0, 0, 1, 1]
    assert source.train.labels.dtype == np.int64
    assert source.test is None


def test_train_and_test_folders_are_read_as_they_are(parted: Path) -> None:
    source = read_folder(parted, 4)
    assert source.classes == ("cat", "dog")
    assert pixels(source.train)[:, 0, 0, 0].tolist() == [0, 1]
    assert source.test is not None
    assert pixels(source.test)[:, 0, 0, 0].tolist() == [2, 3]
    assert source.test.labels.tolist() == [0, 1]


def test_a_train_folder_without_a_test_folder_is_enough(animals: Path, tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    animals.rename(tmp_path / "alone/train")
    source = read_folder(tmp_path / "alone", 4)
    assert source.classes == ("cat", "dog")
    assert source.test is None


def test_the_order_of_many_images_does_not_depend_on_who_decodes_first(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}/{number:03}.png" for name in "ab" for number in range(60)]
    make(*paths)
    images = pixels(read_folder(tmp_path, 4).train)
    assert np.array_equal(images, np.stack([read_image(path, 4) for path in paths]))


def test_what_the_system_hides_and_what_lies_beside_the_classes_is_not_read(animals: Path) -> None:
    hidden = ("cat/.DS_Store", "cat/Thumbs.db", "dog/desktop.ini", "README.md", ".git/HEAD")
    for name in (*hidden, "downloads/cifar-10-python.tar.gz"):
        (animals / name).parent.mkdir(exist_ok=True)
        (animals / name).write_text("no image")
    source = read_folder(animals, 4)
    assert source.classes == ("cat", "dog")
    assert len(source.train) == 4


def test_damaged_exif_does_not_spoil_a_whole_picture(animals: Path) -> None:
    cut_off = bytes.fromhex("49492a000800000001000f010200ff00000010000000")
    exif = b"Exif\x00\x00" + cut_off  # one tag, said to be longer than the file
    Image.new("RGB", (8, 8), "red").save(animals / "cat/3.jpg", exif=exif)
    with warnings.catch_warnings(record=True) as heard:
        assert len(read_folder(animals, 4).train) == 5
    assert heard == []


def refusal(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_folder(folder, 4)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "none"
    assert refusal(folder) == f"{folder}: no such folder; expected {folder}/<class>/<image>"


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    assert refusal(path) == f"{path}: not a folder; expected {path}/<class>/<image>"


@pytest.mark.parametrize("name", ["LICENSE", "downloads/1.png", "train/downloads.txt"])
def test_a_folder_without_class_folders_is_refused(name: str, tmp_path: Path) -> None:
    make(tmp_path / name)
    where = tmp_path / "train" if "train" in name else tmp_path
    assert refusal(tmp_path) == f"{where}: no class folders; expected {where}/<class>/<image>"


def test_a_single_class_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "cat/1.png")
    assert (
        refusal(tmp_path) == f"{tmp_path}: only one class, 'cat'; a classifier needs at least two"
    )


def test_an_empty_class_is_refused(animals: Path) -> None:
    (animals / "emu").mkdir()
    (animals / "emu/.DS_Store").touch()
    expected = f"{animals}/emu: no images in this class; add some or remove the folder"
    assert refusal(animals) == expected


def test_an_empty_class_is_found_before_an_image_is_decoded(parted: Path) -> None:
    (parted / "train/cat/1.png").write_text("no image")
    (parted / "test/dog/4.png").unlink()
    assert refusal(parted).startswith(f"{parted}/test/dog: no images in this class")


def test_a_file_of_an_unknown_suffix_that_is_no_image_is_refused(animals: Path) -> None:
    (animals / "cat/notes").write_text("a text")
    line = refusal(animals)
    assert line.startswith(f"{animals}/cat/notes: not a readable image (its format")
    assert line.endswith("; repair or remove it, or set data.unreadable to skip")


def test_a_broken_link_among_images_is_refused(animals: Path) -> None:
    (animals / "cat/more").symlink_to("nowhere")
    assert refusal(animals) == f"{animals}/cat/more: not a file, or a link to none; remove it"


def test_a_test_class_that_is_not_trained_is_refused(parted: Path) -> None:
    make(parted / "test/emu/1.png")
    assert refusal(parted) == f"{parted}/test/emu: no such class in {parted}/train"


def test_a_trained_class_that_is_not_tested_is_refused(parted: Path) -> None:
    (parted / "test/dog/4.png").unlink()
    (parted / "test/dog").rmdir()
    assert refusal(parted) == f"{parted}/test: no folder for class 'dog' of {parted}/train"


@pytest.mark.parametrize("name", ["tab\there", "line\nbreak", "broken\udcff"])
def test_a_class_name_is_plain_text(name: str, animals: Path) -> None:
    make(animals / name / "1.png")
    assert refusal(animals).endswith(f": {name!a}: the name of a class must be plain text")


def test_a_folder_that_may_not_be_read_is_named(
    animals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)  # these tests may run as root, who may read all
    assert refusal(animals) == f"{animals}: cannot be read: Permission denied"
