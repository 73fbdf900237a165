"""The 25 layouts that people bring: which run by `data.path` alone, what others are told."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pillow_heif
import pytest
from PIL import Image, features

from pipeline.data.params import DataParams
from pipeline.harness.errors import DataError
from pipeline.prepared.facts import read_facts
from stages import prepare
from tests.data.drawing import draw, many, pack, spoil, write_parquet

TWO = ("cat", "dog")
RUNS = None


def classes(folder: Path, *others: str, count: int = 10) -> Path:
    """Draw images of two classes, each of another grey, and other files."""
    return draw(folder, *(f"{name}/{i}.png" for name in TWO for i in range(count)), *others)


def splits(folder: Path, *names: str) -> Path:
    return draw(folder, *(name for split in names for name in many(split, *TWO, count=5)))


def ultralytics(folder: Path) -> Path:
    return splits(folder, "train", "val", "test")


def roboflow(folder: Path) -> Path:
    draw(folder, "README.dataset.txt", "README.roboflow.txt")
    return splits(folder, "train", "valid", "test")


def imagenet(folder: Path) -> Path:
    (folder / "LOC_train_solution.csv").write_text("ImageId,PredictionString\n0,cat 1 2 3 4\n")
    return draw(folder, *many("train", *TWO), "val/1.JPEG", "val/2.JPEG", "test/3.JPEG")


def kaggle(folder: Path) -> Path:
    rows = "".join(f"{index},{TWO[index % 2]}\n" for index in range(20))
    (folder / "labels.csv").write_text(f"id,breed\n{rows}")
    (folder / "sample_submission.csv").write_text("id,cat,dog\n90,0.5,0.5\n")
    return draw(folder, *(f"train/{index}.jpg" for index in range(20)), "test/90.jpg")


def hugging_face_metadata(folder: Path) -> Path:
    for split in ("train", "test"):
        draw(folder, *(f"{split}/{index}.png" for index in range(10)))
        rows = "".join(f"{index}.png,{TWO[index % 2]}\n" for index in range(10))
        (folder / split / "metadata.csv").write_text(f"file_name,label\n{rows}")
    return folder


def hugging_face_parquet(folder: Path) -> Path:
    for first, split in enumerate(("train", "validation", "test")):
        path = folder / f"data/{split}-00000-of-00001.parquet"
        write_parquet(path, [0, 1] * 5, names=TWO, first=10 * first)
    return folder


def tar(folder: Path) -> Path:
    return pack(classes(folder / "photos"), folder / "photos.tar.gz")


def zip_(folder: Path) -> Path:
    archive = pack(classes(folder / "photos"), folder / "photos.zip")
    shutil.rmtree(folder / "photos")
    assert list(folder.iterdir()) == [archive]
    return folder


def one_truncated(folder: Path) -> Path:
    spoil(classes(folder), "dog/3.png")
    return folder


def forty_truncated(folder: Path) -> Path:
    classes(folder, count=30)
    spoil(folder, *(f"{name}/{index}.png" for name in TWO for index in range(20)))
    return folder


def heic(folder: Path) -> Path:
    classes(folder)
    pillow_heif.register_heif_opener()
    Image.new("RGB", (6, 5), "white").save(folder / "cat/IMG_1.HEIC")
    return folder


def avif(folder: Path) -> Path:
    Image.new("RGB", (6, 5), "white").save(classes(folder) / "cat/white.avif")
    return folder


def cmyk_and_palette(folder: Path) -> Path:
    Image.new("CMYK", (6, 5)).save(classes(folder) / "cat/cmyk.jpg")
    Image.new("RGB", (6, 5), "red").convert("P").save(folder / "dog/palette.gif")
    return folder


def multi_label(folder: Path) -> Path:
    rows = "".join(f"{index}.png,{('cat', 'dog', 'cat dog')[index % 3]}\n" for index in range(20))
    (folder / "labels.csv").write_text(f"image,tags\n{rows}")
    return draw(folder, *(f"images/{index}.png" for index in range(20)))


def links(folder: Path) -> Path:
    classes(folder / "store")
    (folder / "images").mkdir()
    for name in TWO:
        (folder / "images" / name).symlink_to(folder / "store" / name)
    return folder / "images"


def the_same_photo_in_two_classes(folder: Path) -> Path:
    shutil.copy(classes(folder) / "cat/1.png", folder / "dog/copy.png")
    return folder


LAYOUTS: dict[str, tuple[Callable[[Path], Path], str | None]] = {
    "Ultralytics": (ultralytics, RUNS),
    "Roboflow": (roboflow, RUNS),
    "ImageNet with flat val": (imagenet, RUNS),
    "Kaggle csv": (kaggle, RUNS),
    "Hugging Face metadata": (hugging_face_metadata, RUNS),
    "Hugging Face parquet": (hugging_face_parquet, RUNS),
    "tar": (tar, RUNS),
    "zip": (zip_, RUNS),
    "one level too deep": (lambda folder: classes(folder / "flowers").parent, RUNS),
    "Train and Test": (lambda folder: splits(folder, "Train", "Test"), RUNS),
    "unlabelled test": (lambda folder: draw(splits(folder, "train"), "test/1.png"), RUNS),
    "nested class": (lambda folder: classes(folder, "cat/kitten/1.png"), RUNS),
    "stray text": (lambda folder: classes(folder, "cat/notes.txt", "README"), RUNS),
    "one truncated": (one_truncated, "dog/3.png: not a readable image .* data.unreadable to skip"),
    "40 truncated": (forty_truncated, "40 images cannot be read; .* set data.unreadable to skip"),
    "HEIC": (heic, RUNS),
    "AVIF": (avif, RUNS),
    "3 per class": (lambda folder: classes(folder, count=3), "3 images are too few to split .* 5"),
    "__MACOSX": (lambda folder: classes(folder, "__MACOSX/cat/._1.png", ".DS_Store"), RUNS),
    "CMYK and palette": (cmyk_and_palette, RUNS),
    "flat": (lambda folder: draw(folder, "1.png", "2.png"), "a folder for each class"),
    "video": (lambda folder: classes(folder, "cat/film.mp4", "dog/film.MOV"), RUNS),
    "multi-label csv": (multi_label, "labels.csv, row 4: 'cat dog' is a list .* keep one label"),
    "links": (links, "images/cat: a link to a folder.*; copy the folder here, or set data.path"),
    "the same photo in two classes": (the_same_photo_in_two_classes, RUNS),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_runs_or_its_remedy_is_named(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "AVIF" and not features.check("avif"):
        pytest.skip("AVIF is not read here")
    build, remedy = LAYOUTS[name]
    (tmp_path / "data").mkdir()
    path = build(tmp_path / "data")
    data = DataParams.model_validate(
        {"name": "image_folder", "path": str(path), "image_size": 4, "duplicates": "keep"}
    )
    params = prepare.Params(seed=0, data=data)
    if remedy is None:
        prepare.main(params, tmp_path / "out")
        assert read_facts(tmp_path / "out").classes == TWO
        said = capsys.readouterr().out
        assert "training images: cat " in said
        assert ("1 images lie in more than one class" in said) == ("two classes" in name)
    else:
        with pytest.raises(DataError) as caught:
            prepare.main(params, tmp_path / "out")
        assert re.search(remedy, str(caught.value).splitlines()[-1])


def test_at_least_17_of_25_run() -> None:
    assert len(LAYOUTS) == 25
    assert sum(remedy is None for _, remedy in LAYOUTS.values()) >= 17
