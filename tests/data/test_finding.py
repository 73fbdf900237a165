"""A cell of a table finds one image, by its path or its name, and never that of another row."""

from pathlib import Path

import pytest

from tests.data.drawing import draw, read_folder, refusal
from tests.data.test_csv_tables import levels, write


def test_of_images_of_one_name_a_table_means_that_in_its_split(tmp_path: Path) -> None:
    draw(tmp_path, "train/1.jpg", "train/2.jpg", "val/1.jpg", "val/2.jpg")
    write(tmp_path / "train.csv", "id,breed", "1,corgi", "2,boxer")
    write(tmp_path / "val.csv", "id,breed", "1,boxer", "2,corgi")
    source = read_folder(tmp_path, 4)
    assert levels(source) == {"boxer": [1], "corgi": [0]}
    assert levels(source, "validation") == {"boxer": [2], "corgi": [3]}


def test_a_name_that_two_images_have_is_refused(tmp_path: Path) -> None:
    draw(tmp_path, "a/0.png", "a/b/0.png", "a/1.png")
    write(tmp_path / "labels.csv", "file_name,label", "0.png,cat", "1.png,dog")
    assert (
        refusal(tmp_path) == "labels.csv, row 2: 0.png may be a/0.png or a/b/0.png; write the path"
    )


def test_an_image_of_another_split_is_not_taken_for_one_that_is_missing(tmp_path: Path) -> None:
    names = [f"{split}/{index}.jpg" for split in ("train", "test") for index in range(4)]
    draw(tmp_path, *names)
    rows = ("id,breed", "0,cat", "1,dog", "2,cat", "3,dog")
    table = write(tmp_path / "train.csv", *rows)
    assert levels(read_folder(tmp_path, 4)) == {"cat": [0, 2], "dog": [1, 3]}
    (tmp_path / "train/3.jpg").unlink()
    line = "row 5: no image 3 in root; if test/3.jpg is meant, write that, or remove the row"
    assert refusal(tmp_path) == f"train.csv, {line}"
    table.rename(tmp_path / "labels.csv")
    assert refusal(tmp_path) == f"labels.csv, {line}"
    write(tmp_path / "labels.csv", *rows[:-1], "test/3.jpg,dog", "test/2.jpg,cat")
    source = read_folder(tmp_path, 4)
    assert levels(source) == {"cat": [0, 2], "dog": [1]}
    assert levels(source, "test") == {"cat": [6], "dog": [7]}


def test_a_training_image_without_a_row_is_not_excused_by_a_test_image_of_its_name(
    tmp_path: Path,
) -> None:
    draw(tmp_path, *(f"{split}/{index}.jpg" for split in ("train", "test") for index in range(4)))
    write(tmp_path / "train.csv", "id,breed", "0,cat", "1,dog", "2,cat")
    write(tmp_path / "test.csv", "id", "0", "1", "2", "3")
    assert refusal(tmp_path).startswith("train/3.jpg: no row in train.csv; add rows, or move")


def test_tables_may_cut_the_images_of_a_training_folder(tmp_path: Path) -> None:
    draw(tmp_path, *(f"train/{index}.jpg" for index in range(4)), "test/0.jpg")
    write(tmp_path / "train.csv", "id,breed", "0,cat", "1,dog")
    write(tmp_path / "val.csv", "id,breed", "2,cat", "3,dog")
    assert levels(read_folder(tmp_path, 4), "validation") == {"cat": [2], "dog": [3]}
    draw(tmp_path / "val", "2.jpg", "3.jpg")
    (tmp_path / "val/3.jpg").unlink()
    assert refusal(tmp_path).startswith("val.csv, row 3: no image 3 in root; if train/3.jpg is")


@pytest.mark.parametrize(
    "cell",
    ["b/9.png", "B\\9", "root/b/9.png", "/far/b/9.png", "../input/b/9.png", "C:\\b\\9.png", "~/9"],
)
def test_a_path_finds_an_image_in_folders_of_the_same_names(cell: str, tmp_path: Path) -> None:
    draw(tmp_path, "b/0.png", "b/1.png", "b/9.png")
    write(tmp_path / "labels.csv", "file,label", "0,cat", "1,dog", f"{cell},dog")
    assert levels(read_folder(tmp_path, 4)) == {"cat": [0], "dog": [1, 2]}


@pytest.mark.parametrize(
    "cell", ["a/9.png", "a/9", "b/a/9.png", "/far/c/9.png", "../input/c/9.png", "{root}/a/9.png"]
)
def test_a_path_into_another_folder_finds_no_image_of_the_same_name(
    cell: str, tmp_path: Path
) -> None:
    draw(tmp_path, "train/b/0.png", "train/b/9.png", "train/b/c/1.png")
    cell = cell.format(root=tmp_path)
    write(tmp_path / "labels.csv", "file,label", "0,cat", "1,dog", f"{cell},dog")
    assert "row 4: no image" in refusal(tmp_path)
    assert refusal(tmp_path).endswith(
        " in root; if train/b/9.png is meant, write that, or remove the row"
    )


def test_a_path_starts_at_the_folder_of_the_table(tmp_path: Path) -> None:
    draw(tmp_path, "images/0.png", "images/1.png")
    write(tmp_path / "labels/a.csv", "file,label", "../images/0.png,cat", "./../images/1.png,dog")
    assert levels(read_folder(tmp_path, 4)) == {"cat": [0], "dog": [1]}


def test_a_path_may_start_with_the_root_and_with_no_other_folder(tmp_path: Path) -> None:
    folder = draw(tmp_path / "flat", "0.png", "1.png")
    write(folder / "labels.csv", "file,label", "flat/0.png,cat", "flat/1,dog")
    assert levels(read_folder(folder, 4)) == {"cat": [0], "dog": [1]}
    write(folder / "labels.csv", "file,label", "flat/0.png,cat", "a/1.png,dog")
    assert refusal(folder).startswith("labels.csv, row 3: no image a/1.png in root; if 1.png is")


def test_a_path_that_names_a_test_folder_finds_an_image_in_it(tmp_path: Path) -> None:
    names = [f"{split}/{index}.jpg" for split in ("train", "test") for index in range(2)]
    draw(tmp_path, *names)
    rows = (f"/far/{name},{('cat', 'dog')[index % 2]}" for index, name in enumerate(names))
    write(tmp_path / "labels.csv", "file,label", *rows)
    assert levels(read_folder(tmp_path, 4), "test") == {"cat": [2], "dog": [3]}
