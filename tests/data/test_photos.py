"""Files that are no photos are skipped, unreadable photos are all named, classes are counted."""

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, features

from pipeline.data import folders
from pipeline.data.params import DataParams
from pipeline.harness.errors import DataError
from pipeline.photos import decoding
from pipeline.prepared.facts import Fit, read_facts
from pipeline.prepared.packing import read_split
from stages import prepare
from tests.data.drawing import draw, many, pixels, read_folder, refusal, spoil


def test_what_is_no_photo_is_skipped_and_counted_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    others = (
        *(f"cat/{index}.TXT" for index in range(3)),
        *("labels.json", "README", "cat/film.mp4", "cat/._1.png", "dog/THUMBS.DB", "cat/a.xml"),
        *("__MACOSX/cat/._2.png", "dog/@eaDir/1.png", "cat/@eaDir/1.png", ".git/HEAD"),
        "cat/.DS_Store",
    )
    source = read_folder(draw(tmp_path, "cat/1.png", "dog/1.png", *others), 4)
    assert len(source.train) == 2
    assert source.classes == ("cat", "dog")
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "skipped" in line)
    files, _, folders = line.partition("; skipped folders: ")
    head, _, listed = files.partition(": ")
    assert head == "skipped 10 files that are no images"
    expected = {"3 .txt", "1 .json", "1 without a suffix", "1 .mp4", "1 hidden", "1 THUMBS.DB"}
    assert set(listed.split(", ")) == expected | {"1 .xml", "1 .DS_Store"}
    assert set(folders.split(", ")) == {"2 @eaDir", "1 __MACOSX", "1 hidden"}


def test_a_photo_without_a_suffix_is_read_inside_a_class(tmp_path: Path) -> None:
    draw(tmp_path, "cat/1.png", "cat/2.png", "dog/3.png")
    (tmp_path / "cat/1.png").rename(tmp_path / "cat/photo")
    (tmp_path / "cat/2.png").rename(tmp_path / "cat/photo.copy")
    assert len(read_folder(tmp_path, 4).train) == 3


def test_cmyk_palette_and_avif_photos_are_read(tmp_path: Path) -> None:
    draw(tmp_path, "cat/1.png", "dog/1.png")
    Image.new("CMYK", (6, 5)).save(tmp_path / "cat/2.jpg")
    Image.new("P", (6, 5)).save(tmp_path / "dog/2.gif")
    if features.check("avif"):
        Image.new("RGB", (6, 5), "white").save(tmp_path / "dog/3.avif")
    assert len(read_folder(tmp_path, 4).train) == len(list(tmp_path.rglob("*.*")))


def test_all_unreadable_images_of_all_splits_are_named_at_once(tmp_path: Path) -> None:
    draw(tmp_path, *many("train", "cat", "dog", count=2), *many("test", "cat", "dog", count=2))
    spoil(tmp_path, "train/dog/1.png", "test/cat/0.png", "train/cat/0.png")
    with pytest.raises(DataError) as caught:
        read_folder(tmp_path, 4)
    *lines, last = str(caught.value).splitlines()
    names = [line.partition(": not a readable image (")[0] for line in lines]
    expected = ("train/cat/0.png", "train/dog/1.png", "test/cat/0.png")
    assert names == [f"{tmp_path}/{name}" for name in expected]
    assert last.startswith("3 images cannot be read; repair or remove them, or set data.unreadable")


def test_of_forty_truncated_images_twenty_are_named_and_all_are_counted(tmp_path: Path) -> None:
    names = [f"{name}/{index:02}.png" for name in ("cat", "dog") for index in range(20)]
    spoil(draw(tmp_path, *names, "cat/good.png", "dog/good.png"), *names)
    with pytest.raises(DataError) as caught:
        read_folder(tmp_path, 4)
    lines = str(caught.value).splitlines()
    assert len(lines) == 21
    assert lines[-1].startswith("40 images cannot be read; the first 20 are named above;")
    source = read_folder(tmp_path, 4, unreadable="skip")
    assert source.train.labels.tolist() == [0, 1]
    assert pixels(source.train)[:, 0, 0, 0].tolist() == [40, 41]


def test_a_class_without_a_readable_image_is_refused_even_if_those_are_skipped(
    tmp_path: Path,
) -> None:
    spoil(draw(tmp_path, "cat/1.png", "dog/1.png"), "dog/1.png")
    with pytest.raises(DataError, match="no training image of class 'dog' can be read"):
        read_folder(tmp_path, 4, unreadable="skip")


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    draw(tmp_path, "cat/1.png", "dog/1.png")
    (tmp_path / "cat/1.png").write_bytes(b"")
    assert refusal(tmp_path).startswith("cat/1.png: not a readable image (the file is empty)")


def test_a_heic_image_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "formats", lambda: decoding.FORMATS)
    draw(tmp_path, "cat/1.png", "dog/1.png")
    (tmp_path / "cat/2.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(30))
    assert "a HEIC image; to read it, install pillow-heif" in refusal(tmp_path)


def test_a_link_to_an_image_is_read_as_dvc_hashes_what_is_behind_it(tmp_path: Path) -> None:
    draw(tmp_path, "images/cat/1.png", "images/dog/1.png", "store/2.png")
    (tmp_path / "images/cat/2.png").symlink_to(tmp_path / "store/2.png")
    assert len(read_folder(tmp_path / "images", 4).train) == 3


def test_a_file_that_is_neither_file_nor_folder_is_refused(tmp_path: Path) -> None:
    draw(tmp_path, "cat/1.png", "dog/1.png")
    os.mkfifo(tmp_path / "cat/pipe.jpg")
    assert refusal(tmp_path) == "cat/pipe.jpg: not a file, or a link to none; remove it"


def test_the_order_is_that_of_names_whatever_the_disk_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{name}/{index}.png" for name in ("cat", "dog") for index in (9, 10, 1)]
    before = read_folder(draw(tmp_path, *names), 4)
    assert pixels(before.train)[:, 0, 0, 0].tolist() == [2, 1, 0, 5, 4, 3]
    scandir = os.scandir

    class Backwards:
        def __init__(self, path: Path) -> None:
            with scandir(path) as entries:
                self.entries = sorted(entries, key=lambda entry: entry.name, reverse=True)

        def __enter__(self) -> "list[os.DirEntry[str]]":
            return self.entries

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(os, "scandir", Backwards)
    assert np.array_equal(pixels(read_folder(tmp_path, 4).train), pixels(before.train))


def test_counts_and_warnings_come_before_an_image_is_decoded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(tmp_path, *many("train", "cat", count=2), *many("train", "dog", count=41))
    spoil(tmp_path, "train/cat/0.png")
    refusal(tmp_path)
    counts, few, unequal = capsys.readouterr().out.splitlines()
    assert counts == "training images: cat 2, dog 41"
    assert few == "warning: classes with fewer than 20 training images: 1 (cat 2)"
    assert unequal.startswith("warning: dog has 20 times as many training images as cat;")


def test_many_classes_are_counted_by_the_smallest_and_the_largest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(tmp_path, *(f"{name}/{name}.png" for name in "abcdefghijklm"), "c/2.png")
    read_folder(tmp_path, 4)
    said = capsys.readouterr().out
    assert "training images: 14 of 13 classes, from 1 (a) to 2 (c)\n" in said
    assert "fewer than 20 training images: 13 (a 1, b 1, d 1, e 1, f 1, ...)\n" in said


def test_prepare_uses_the_validation_images_of_the_user(tmp_path: Path) -> None:
    names = [*many("data/Train", "cat", "dog"), *many("data/val", "cat", "dog", count=3)]
    draw(tmp_path, *names, "data/Test/1.jpg")
    spoil(tmp_path, "data/Train/cat/3.png")
    changes = {"name": "image_folder", "path": str(tmp_path), "image_size": 4}
    data = DataParams.model_validate({**changes, "unreadable": "skip"})
    prepare.main(prepare.Params(seed=0, data=data), tmp_path / "out")
    assert read_facts(tmp_path / "out").classes == ("cat", "dog")
    validation = read_split(tmp_path / "out", "validation")
    assert sorted(pixels(validation)[:, 0, 0, 0].tolist()) == list(range(20, 26))


@pytest.mark.parametrize("change", ["added", "removed", "changed"])
def test_images_that_change_while_they_are_read_are_not_prepared(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path, "cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")
    real = folders.read_image

    def read(path: Path, size: int, fit: Fit) -> NDArray[np.uint8]:
        image = real(path, size, fit)
        if path.name == "1.png" and path.parent.name == "cat":
            if change == "added":
                draw(tmp_path, "dog/late.png")
            elif change == "removed":
                (tmp_path / "dog" / "2.png").unlink()
            else:
                os.utime(tmp_path / "dog" / "2.png", ns=(1, 1))
        return image

    monkeypatch.setattr(folders, "read_image", read)
    with pytest.raises(DataError, match=r"added, removed or changed while they were read; run it"):
        read_folder(tmp_path, 4)
