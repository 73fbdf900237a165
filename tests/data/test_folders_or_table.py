"""Folders of images are the classes, or a table beside them says other ones, or it is refused."""

from pathlib import Path

import pytest

from tests.data.drawing import draw, read_folder, refusal
from tests.data.test_csv_tables import ANIMALS, levels, write

PARTS = ("part_1/0.jpg", "part_1/1.jpg", "part_2/2.jpg", "part_2/3.jpg")


@pytest.mark.parametrize("end", ["", ".jpg"])
def test_folders_that_are_parts_of_the_images_are_no_classes_where_a_table_labels_them(
    end: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(tmp_path, *PARTS)
    rows = (f"{index}{end},{('nv', 'mel')[index % 2]}" for index in range(4))
    table = write(tmp_path / "metadata.csv", "image_id,label", *rows)
    assert levels(read_folder(tmp_path, 4)) == {"mel": [1, 3], "nv": [0, 2]}
    assert f"{table}: the classes are in this table\n" in capsys.readouterr().out


@pytest.mark.parametrize("header", ["image_id,dx", "image_id,dx,age"])
def test_a_table_of_images_in_folders_that_calls_no_column_label_is_unclear(
    header: str, tmp_path: Path
) -> None:
    draw(tmp_path, *PARTS)
    more = ",40" * (header.count(",") - 1)
    rows = (f"{index},{('nv', 'mel')[index % 2]}{more}" for index in range(4))
    write(tmp_path / "metadata.csv", header, *rows)
    assert refusal(tmp_path) == (
        "metadata.csv: names images in part_1; if a column holds their classes, call it label; if"
        " their folders are the classes, remove the table"
    )


def test_masks_beside_images_with_labels_are_no_class(tmp_path: Path) -> None:
    draw(tmp_path, *(f"{folder}/{index}.png" for folder in ("images", "masks") for index in "012"))
    write(tmp_path / "a.csv", "file,label", *(f"images/{row}" for row in ANIMALS[1:]))
    line = "masks/0.png: no row in a.csv (the first of 3 images); add rows, or move images without"
    assert refusal(tmp_path).startswith(line)
    (tmp_path / "masks").rename(tmp_path / "test")
    assert levels(read_folder(tmp_path, 4)) == {"cat": [1], "dog": [0, 2]}
    (tmp_path / "test").rename(tmp_path / "masks")
    write(tmp_path / "a.csv", *ANIMALS)
    assert refusal(tmp_path).endswith("may be images/0.png or masks/0.png; write the path")


BESIDE_CLASSES = {
    "the names of the folders": ("file,label", "0.png,Big Cat", "1.png,big-cat", "3.png,dog"),
    "numbers of the folders": ("file,label", "0,0", "1,0", "big_cat/2.png,0", "dog/3.png,1"),
    "a column of the folders among others": ("path,width,kind", "0,9,big_cat", "3,9,dog"),
    "a list of the classes": ("id,class", "0,dog", "1,big_cat"),
    "other images": ("file,label", "90.png,a", "91.png,a", "92.png,b"),
    "nothing": ("file,label",),
    "an answer sheet": ("id,label", "0,x", "1,y", "2,x"),
    "no labels": ("id,split", "0,train", "1,train"),
    "rows of other images that are broken": ("id,label", "90", "0,x"),
    "two columns of images": ("file,image,label", "0.png,0.png,a", "1.png,1.png,a"),
}


@pytest.mark.parametrize("kind", BESIDE_CLASSES)
def test_class_folders_stay_the_classes_beside_a_table_with(kind: str, tmp_path: Path) -> None:
    draw(tmp_path, "big_cat/0.png", "big_cat/1.png", "big_cat/2.png", "dog/3.png", "dog/4.png")
    name = "submission.csv" if kind == "an answer sheet" else "a.csv"
    write(tmp_path / name, *BESIDE_CLASSES[kind])
    assert levels(read_folder(tmp_path, 4)) == {"big_cat": [0, 1, 2], "dog": [3, 4]}


def test_a_label_that_contradicts_the_class_folder_is_refused(tmp_path: Path) -> None:
    draw(tmp_path, "cat/0.png", "cat/1.png", "dog/2.png")
    write(tmp_path / "a.csv", *ANIMALS)
    assert refusal(tmp_path) == (
        "a.csv, row 2: the label 'dog', but cat/0.png is in another folder, unlike others;"
        " correct one of them, or remove the table"
    )


def test_a_table_of_a_flat_test_folder_leaves_the_class_folders_as_they_are(tmp_path: Path) -> None:
    draw(tmp_path, *(f"Train/{index % 2}/{index}.png" for index in range(6)), "Test/0.png")
    draw(tmp_path, "Test/1.png", "Test/2.png")
    rows = (f"9,8,{index % 2},Train/{index % 2}/{index}.png" for index in range(6))
    write(tmp_path / "Train.csv", "Width,Height,ClassId,Path", *rows)
    write(tmp_path / "Test.csv", "Path,Class", "Test/0.png,1", "Test/1.png,1", "Test/2.png,0")
    assert read_folder(tmp_path, 4).classes == ("0", "1")
