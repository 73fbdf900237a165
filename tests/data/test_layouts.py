"""Folders as people have them are read by `data.path` alone, or refused in a line that says why."""

from pathlib import Path
from unicodedata import normalize

import pytest

from pipeline.data.source import Source
from pipeline.data.splits import split
from pipeline.prepared.labelled import Splits
from tests.data.drawing import draw, many, pixels, read_folder, refusal


def cut(source: Source) -> Splits:
    return split(source, validation_fraction=0.5, test_fraction=0.2, seed=0)


def sizes(splits: Splits) -> tuple[int, int, int]:
    return len(splits.train), len(splits.validation), len(splits.test)


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "val", "test"),
        ("train", "valid", "test"),
        ("Training", "Validation", "Testing"),
        ("TRAIN", "dev", "Test"),
    ],
)
def test_splits_of_any_usual_name_are_used(train: str, val: str, test: str, tmp_path: Path) -> None:
    names = [*many(train, "cat", "dog"), *many(val, "cat", "dog", count=3)]
    source = read_folder(draw(tmp_path, *names, *many(test, "cat", "dog", count=2)), 4)
    assert source.classes == ("cat", "dog")
    assert source.validation is not None
    splits = cut(source)
    assert sizes(splits) == (20, 6, 4)
    levels = pixels(splits.validation)[:, 0, 0, 0].tolist()
    assert sorted(levels) == list(range(20, 26))
    assert splits.test is source.test


def test_training_images_that_are_not_cut_come_in_random_order(tmp_path: Path) -> None:
    names = [*many("train", "cat", "dog"), *many("val", "cat", "dog")]
    splits = cut(read_folder(draw(tmp_path, *names, *many("test", "cat", "dog")), 4))
    for labels in (splits.train.labels, splits.validation.labels):
        assert set(labels[:10].tolist()) == {0, 1}


def test_without_a_test_folder_a_test_split_is_cut_from_the_training_images(tmp_path: Path) -> None:
    names = [*many("train", "cat", "dog"), *many("val", "cat", "dog", count=3)]
    assert sizes(cut(read_folder(draw(tmp_path, *names), 4))) == (16, 6, 4)


@pytest.mark.parametrize("test", ["test/1.jpg", "test/unknown/1.jpg", "test/test/1.jpg"])
def test_a_test_folder_without_classes_is_not_read_and_a_line_says_so(
    test: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = read_folder(draw(tmp_path, *many("train", "cat", "dog"), test), 4)
    assert source.test is None
    line = "/test: not read, as its images have no classes; test images are taken from the training"
    assert line in capsys.readouterr().out


def test_a_flat_validation_folder_as_that_of_imagenet_is_not_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [*many("train", "n01440764", "n01443537"), "val/1.JPEG", "val/2.JPEG", "test/3.JPEG"]
    source = read_folder(draw(tmp_path, *names), 4)
    assert (source.validation, source.test) == (None, None)
    assert capsys.readouterr().out.count("not read, as its images have no classes") == 2


@pytest.mark.parametrize("inside", ["", "train/"])
@pytest.mark.parametrize("wrapper", ["flowers", "flowers/dataset", "archive/downloads"])
def test_a_wrapping_folder_is_entered(
    wrapper: str, inside: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = (f"{wrapper}/{inside}{name}" for name in ("cat/1.png", "dog/2.png", "cat/3.png"))
    source = read_folder(draw(tmp_path, *names, "__MACOSX/._flowers", "README.md"), 4)
    assert source.classes == ("cat", "dog")
    assert len(source.train) == 3
    said = capsys.readouterr().out
    assert said.count(": entered, because the folder around it") == wrapper.count("/") + 1


def test_a_third_wrapping_folder_is_not_entered(tmp_path: Path) -> None:
    draw(tmp_path, "a/b/c/cat/1.png", "a/b/c/dog/2.png")
    assert refusal(tmp_path).startswith("a/b: only one class, 'c'")


def test_wrapping_folders_within_splits_are_entered(tmp_path: Path) -> None:
    names = ("train/train/cat/1.png", "train/train/dog/1.png", "test/test/cat/1.png")
    source = read_folder(draw(tmp_path, *names, "test/test/dog/1.png"), 4)
    assert source.classes == ("cat", "dog")
    assert source.test is not None


def test_images_in_subfolders_belong_to_the_class(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("cat/1.png", "cat/a/2.png", "cat/a/deep/er/3.png", "cat/b/4.png", "dog/x/5.png")
    source = read_folder(draw(tmp_path, *names), 4)
    assert source.train.labels.tolist() == [0, 0, 0, 0, 1]
    assert pixels(source.train)[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    expected = f"{tmp_path}/cat/a and 2 other subfolders: images in subfolders of a class belong"
    assert expected in capsys.readouterr().out


def test_a_class_name_may_be_written_in_either_unicode_form(tmp_path: Path) -> None:
    one, other = (normalize(form, "café") for form in ("NFC", "NFD"))
    names = (f"train/{other}/1.png", "train/tea/1.png", f"test/{one}/1.png", "test/tea/1.png")
    source = read_folder(draw(tmp_path, *names), 4)
    assert source.classes == (one, "tea")
    assert source.test is not None


@pytest.mark.parametrize(
    ("one", "other"), [("Cat", "cat"), ("cat", "cat "), ("cafe\u0301", "caf\u00e9")]
)
def test_two_classes_that_look_alike_are_refused_by_both_names(
    one: str, other: str, tmp_path: Path
) -> None:
    draw(tmp_path, f"{one}/1.png", f"{other}/1.png", "tea/1.png")
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("this file system takes the two names for one")
    line = refusal(tmp_path)
    assert repr(one) in line or ascii(one) in line
    assert repr(other) in line or ascii(other) in line
    assert "look alike" in line


def test_a_test_class_that_differs_in_capitals_is_told_its_twin(tmp_path: Path) -> None:
    draw(tmp_path, *many("train", "cat", "dog"), "test/Cat/1.png", "test/dog/1.png")
    assert (
        refusal(tmp_path)
        == "test/Cat: no such class in train; rename it to 'cat', which looks alike"
    )


@pytest.mark.parametrize("name", ["dog", "train", "cat/more"])
def test_a_link_to_a_folder_is_refused(name: str, tmp_path: Path) -> None:
    store, folder = tmp_path / "store", tmp_path / "images"
    draw(store, "a/1.png", "b/1.png")
    draw(folder, "cat/1.png", "emu/1.png")
    (folder / name).symlink_to(store)
    line = refusal(folder)
    assert line.startswith(f"{name}: a link to a folder, and DVC does not see what changes behind")
    assert "copy the folder here, or set data.path to the real place" in line


UNCLEAR = {
    "an image beside class folders": (
        ("cat/1.png", "dog/1.png", "stray.png"),
        "stray.png: an image beside class folders; move it into the folder of its class",
    ),
    "a flat folder": (
        ("1.png", "2.png"),
        "root: images without class folders; expected <class>/<image>, a folder for each class",
    ),
    "a flat train folder": (
        ("train/1.png", "train/2.png", "test/1.png"),
        "train: images without class folders; expected train/<class>/<image>",
    ),
    "train beside classes": (
        ("train/cat/1.png", "train/dog/1.png", "emu/1.png"),
        "emu: beside the split folder train/; if it is a class, move it into train/, or rename",
    ),
    "a test folder beside classes": (
        ("cat/1.png", "dog/1.png", "test/1.png"),
        "cat: beside the split folder test/; if it is a class, move it into test/, or rename test/",
    ),
    "a flat validation folder beside classes": (
        ("cat/1.png", "dog/1.png", "val/1.png"),
        "cat: beside the split folder val/; if it is a class, move it into val/, or rename val/",
    ),
    "an image beside splits": (
        ("train/cat/1.png", "train/dog/1.png", "1.png"),
        "1.png: an image beside the split folder train/; move it into its class",
    ),
    "one class": (("cat/1.png",), "root: only one class, 'cat'"),
    "one training class": (("train/cat/1.png", "test/cat/1.png"), "train: only one class, 'cat'"),
    "no training images": (
        ("val/cat/1.png", "val/dog/1.png", "test/cat/1.png", "test/dog/1.png"),
        "test: no train/ beside it; rename the folder of the training images to train",
    ),
    "a split twice": (
        ("train/cat/1.png", "train/dog/1.png", "val/cat/1.png", "valid/cat/1.png"),
        "valid: the same split as",
    ),
    "splits inside classes": (
        ("cat/train/1.png", "cat/test/1.png", "dog/train/1.png", "dog/test/1.png"),
        "cat: splits inside a class; expected classes inside splits: train/<class>/<image>",
    ),
    "a class without images": (("cat/1.png", "dog/film.mp4"), "dog: no images in this class"),
    "a validation class without images": (
        ("train/cat/1.png", "train/dog/1.png", "val/cat/1.png", "val/dog/a.txt"),
        "val/dog: no images in this class",
    ),
    "a validation class that is missing": (
        ("train/cat/1.png", "train/dog/1.png", "val/cat/1.png"),
        "val: no folder for class 'dog' of train",
    ),
    "too deep": (("/".join(["a"] * 50) + "/1.png",), "/a: more than 40 folders inside each other"),
}


@pytest.mark.parametrize("kind", UNCLEAR)
def test_a_folder_of_unclear_meaning_is_refused(kind: str, tmp_path: Path) -> None:
    names, line = UNCLEAR[kind]
    assert line in refusal(draw(tmp_path / "images", *names))


def test_valid_and_invalid_are_classes(tmp_path: Path) -> None:
    source = read_folder(draw(tmp_path, "valid/1.png", "invalid/1.png"), 4)
    assert source.classes == ("invalid", "valid")


def test_a_folder_without_images_beside_the_splits_is_no_mistake(tmp_path: Path) -> None:
    draw(tmp_path, *many("train", "cat", "dog"), "annotations/1.xml", "empty/1.txt")
    assert read_folder(tmp_path, 4).classes == ("cat", "dog")
