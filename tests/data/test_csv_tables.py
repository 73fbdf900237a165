"""A csv beside the images says their classes; whatever is unclear in it is refused by its row."""

from pathlib import Path
from unicodedata import normalize

import pytest

from pipeline.data.opening import opened
from pipeline.data.source import Source
from pipeline.harness.errors import DataError
from tests.data.drawing import draw, pack, pixels, read_folder, refusal


def write(path: Path, *rows: str, encoding: str = "utf-8", end: str = "\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(f"{row}{end}" for row in rows).encode(encoding))
    return path


def levels(source: Source, split: str = "train") -> dict[str, list[int]]:
    """Return the grey levels of the images of each class."""
    labelled = getattr(source, split)
    found: dict[str, list[int]] = {name: [] for name in source.classes}
    for image, label in zip(pixels(labelled), labelled.labels, strict=True):
        found[source.classes[label]].append(int(image[0, 0, 0]))
    return found


ANIMALS = ("file_name,label", "0.png,dog", "1.png,cat", "2.png,dog")


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Three images without folders; no table yet."""
    return draw(tmp_path / "flat", "0.png", "1.png", "2.png")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_table_of_any_usual_form_says_the_classes(
    delimiter: str, encoding: str, end: str, flat: Path
) -> None:
    rows = (row.replace(",", delimiter) for row in ANIMALS)
    write(flat / "labels.csv", *rows, "", encoding=encoding, end=end)
    assert levels(read_folder(flat, 4)) == {"cat": [1], "dog": [0, 2]}


def test_the_table_is_told_and_other_files_are_counted(
    flat: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(flat / "labels.csv", *ANIMALS)
    write(flat / "classes.csv", "number,name", "0,cat")
    draw(flat, "README.md", "LICENSE")
    read_folder(flat, 4)
    said = capsys.readouterr().out
    assert f"{flat}/labels.csv: the classes are in this table\n" in said
    assert "skipped 3 files that are no images: 1 without a suffix, 1 .md, 1 .csv\n" in said


@pytest.mark.parametrize(
    ("header", "first", "rest"),
    [
        ("Image Path,Breed", "images/0.png,dog", ("images/1.png,cat", "images/2.png,dog")),
        ("img_name,species", "images\\0.png,dog", (".\\images\\1.png,cat", "2.PNG,dog")),
        ("id,whatever", "0,dog", ("1,cat", "2,dog")),
        (",id,path,label", "0,7,C:\\photos\\0.png,dog", ("1,8,/x/1.png,cat", "2,9,2,dog")),
        ("label,filename,width", "dog,0.png,10", ("cat,1.png,11", "dog,2.png,12")),
        ('"file","class"', '"0.png","dog"', ('"1.png","cat"', '2.png," dog "')),
    ],
)
def test_columns_are_known_by_their_names_and_images_by_path_or_name(
    header: str, first: str, rest: tuple[str, str], tmp_path: Path
) -> None:
    draw(tmp_path, "images/0.png", "images/1.png", "images/2.png")
    write(tmp_path / "labels.csv", header, first, *rest)
    assert levels(read_folder(tmp_path, 4)) == {"cat": [1], "dog": [0, 2]}


def test_a_quoted_label_may_have_the_separator_and_names_either_unicode_form(
    tmp_path: Path,
) -> None:
    one, other = (normalize(form, "café") for form in ("NFC", "NFD"))
    draw(tmp_path, f"{other}.png", "1.png", "2.png")
    rows = (f"{one}.png,{other}", '1.png,"tench, Tinca tinca"', f"2.png,{one}")
    write(tmp_path / "labels.csv", "file,label", *rows)
    source = read_folder(tmp_path, 4)
    assert levels(source) == {one: [0, 2], "tench, Tinca tinca": [1]}


SPLIT = ("0.png", "1.png", "2.png", "3.png", "4.png", "5.png")


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Train_labels", "dev", "testLabels")])
def test_a_table_for_each_split(names: tuple[str, str, str], tmp_path: Path) -> None:
    draw(tmp_path, *(f"images/{name}" for name in SPLIT))
    for index, name in enumerate(names):
        rows = (f"{2 * index}.png,cat", f"{2 * index + 1}.png,dog")
        write(tmp_path / f"{name}.csv", "file_name,label", *rows)
    source = read_folder(tmp_path, 4)
    assert levels(source) == {"cat": [0], "dog": [1]}
    assert levels(source, "validation") == {"cat": [2], "dog": [3]}
    assert levels(source, "test") == {"cat": [4], "dog": [5]}


def test_a_metadata_table_in_each_split_folder_as_of_hugging_face(tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        draw(tmp_path, f"{split}/a.png", f"{split}/b.png")
        write(tmp_path / split / "metadata.csv", "file_name,label", "a.png,cat", "b.png,dog")
    source = read_folder(tmp_path, 4)
    assert source.validation is not None
    assert source.test is not None


def test_a_column_says_the_split(tmp_path: Path) -> None:
    draw(tmp_path, *SPLIT)
    rows = (
        f"{name},{'cat' if index % 2 else 'dog'},{('train', 'Valid', 'test')[index // 2]}"
        for index, name in enumerate(SPLIT)
    )
    table = write(tmp_path / "a.csv", "image,kind,data set", *rows)
    source = read_folder(tmp_path, 4)
    assert levels(source, "validation") == {"cat": [3], "dog": [2]}
    table.write_text(table.read_text().replace("Valid", "holdout"))
    expected = "a.csv, row 4: 'holdout' is no split; expected train, val or test"
    assert refusal(tmp_path) == expected


def test_one_table_takes_the_split_from_the_folders_of_the_images(tmp_path: Path) -> None:
    draw(tmp_path, "train/a.png", "train/b.png", "val/a.png", "val/b.png")
    rows = ("train/a.png,cat", "train/b.png,dog", "val/a.png,dog", "val/b.png,cat")
    write(tmp_path / "metadata.csv", "file_name,label", *rows)
    source = read_folder(tmp_path, 4)
    assert levels(source) == {"cat": [0], "dog": [1]}
    assert levels(source, "validation") == {"cat": [3], "dog": [2]}


def test_kaggle_s_ids_and_its_test_images_without_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(tmp_path, "train/1.jpg", "train/2.jpg", "train/3.jpg", "test/1.jpg", "test/8.jpg")
    write(tmp_path / "labels.csv", "id,breed", "1,corgi", "2,boxer", "3,corgi")
    write(tmp_path / "sample_submission.csv", "id,boxer,corgi", "1,0.5,0.5")
    source = read_folder(tmp_path, 4)
    assert levels(source) == {"boxer": [1], "corgi": [0, 2]}
    assert source.test is None
    said = capsys.readouterr().out
    assert f"images without labels, left out: 2; the first is {tmp_path}/test/1.jpg" in said


def test_a_test_table_without_labels_names_images_that_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(tmp_path, *(f"images/{name}" for name in SPLIT[:4]))
    write(tmp_path / "train.csv", "image_id,diagnosis", "0,rust", "1,scab", "2,rust")
    write(tmp_path / "test.csv", "image_id", "3")
    assert levels(read_folder(tmp_path, 4)) == {"rust": [0, 2], "scab": [1]}
    assert "images without labels, left out: 1;" in capsys.readouterr().out


def test_class_folders_say_the_classes_whatever_a_table_beside_them_says(tmp_path: Path) -> None:
    draw(tmp_path, "train/cat/0.png", "train/dog/1.png")
    write(tmp_path / "all.csv", "no header.png,x")
    assert read_folder(tmp_path, 4).classes == ("cat", "dog")


def test_a_table_in_an_archive_is_read_and_named(flat: Path, tmp_path: Path) -> None:
    write(flat / "labels.csv", *ANIMALS)
    archive = pack(flat, tmp_path / "photos.zip")
    with opened(archive, tmp_path / "unpacked") as layout:
        assert layout.name(layout.train[0][0]) == "photos.zip/1.png"
        assert f"{archive}/labels.csv: the classes are in this table" in layout.notes
    (flat / "1.png").unlink()
    assert refusal(pack(flat, archive)).startswith("labels.csv, row 3: no image 1.png in ")


def test_a_table_that_changes_while_images_are_read_is_noticed(flat: Path) -> None:
    table = write(flat / "labels.csv", *ANIMALS)
    changed, made = "added, removed or changed", flat.parent / "unpacked"
    with pytest.raises(DataError, match=changed), opened(flat, made):
        write(table, *ANIMALS[:-1], "2.png,cat")


UNCLEAR = {
    "no image": ((*ANIMALS, "9.png,cat"), "row 5: no image 9.png in root; add it, or remove"),
    "no row": (ANIMALS[:-1], "2.png: no row in labels.csv; add rows, or move images without"),
    "no rows": (
        ("file_name,label", *ANIMALS[3:]),
        "0.png: no row in labels.csv (the first of 2 images)",
    ),
    "nothing but a header": (ANIMALS[:1], "labels.csv: no rows"),
    "two labels of an image": (
        (*ANIMALS, "0.png,cat"),
        "row 5: the label 'cat' of an image that has the label 'dog' in labels.csv, row 2",
    ),
    "no label": ((*ANIMALS[:-1], "2.png,"), "row 4: no label; add it, or remove the row and"),
    "a missing label as pandas writes it": (
        (*ANIMALS[:-1], "2.png,nan"),
        "row 4: 'nan' is how pandas writes a missing label; add the label, or remove the row and",
    ),
    "one number in two ways": (
        ("file,label", "0.png,0", "1.png,1.0", "2.png,1"),
        "labels.csv: the labels '1.0' and '1' are the same number; write it in one way",
    ),
    "one class": (
        ("file,label", "0.png,a", "1.png,a", "2.png,a"),
        "labels.csv: only one label, 'a'; a classifier needs at least two",
    ),
    "look-alikes": (
        ("file,label", "0.png,Cat", "1.png,cat", "2.png,dog"),
        "labels.csv: the labels 'Cat' and 'cat' look alike; merge or rename them",
    ),
    "captions": (
        ("file,text", "0.png,a cat", "1.png,two dogs", "2.png,an emu"),
        "every image has a label of its own, such as 'a cat'",
    ),
    "lists of labels": (
        ("file,label", "0.png,cat|dog", "1.png,cat", "2.png,dog"),
        "row 2: 'cat|dog' is a list of labels, but an image has one class; keep one label",
    ),
    "words that are labels": (
        ("file,labels", "0.png,scab rust", "1.png,scab", "2.png,rust"),
        "row 2: 'scab rust' is a list of labels, but an image has one class; keep one label",
    ),
    "lists in quotes": (
        ("file,label", '0.png,"cat, dog"', '1.png,"dog, emu"', "2.png,emu"),
        "row 2: 'cat, dog' is a list of labels",
    ),
    "marks": (
        ("file,cat,dog", "0.png,1,0", "1.png,1,1", "2.png,0,1"),
        "labels.csv: 2 columns of 0 and 1, so that an image may have several labels; write",
    ),
    "several labels": (
        ("file,class,breed", "0.png,a,b", "1.png,b,c", "2.png,b,c"),
        "labels.csv: the columns class, breed may all hold the labels; keep one, or call it label",
    ),
    "several unknown columns": (
        ("file,age,sex", "0.png,2,m", "1.png,3,f", "2.png,2,m"),
        "labels.csv: the columns age, sex may all hold the labels",
    ),
    "several images": (
        ("file,image,label", "0.png,0.png,a", "1.png,1.png,b", "2.png,2.png,b"),
        "labels.csv: the columns file, image may all name the images; keep one",
    ),
    "no labels": (("file", "0.png", "1.png", "2.png"), "labels.csv: no column of labels; add one"),
    "no images": (("name,label", "0.png,a"), "labels.csv: no column names the images; call it"),
    "no header": (ANIMALS[1:], "row 1: 0.png, but expected the names of the columns; add a first"),
    "too few cells": ((*ANIMALS, "0.png"), "row 5: 1 cells, but the header has 2"),
    "a broken quote": ((*ANIMALS, '0.png,"cat'), "labels.csv: not a readable table (unexpected"),
}


@pytest.mark.parametrize("kind", UNCLEAR)
def test_a_table_of_unclear_meaning_is_refused(kind: str, flat: Path) -> None:
    rows, line = UNCLEAR[kind]
    write(flat / "labels.csv", *rows)
    assert line in refusal(flat)


def test_a_table_of_another_encoding_says_what_to_do(flat: Path) -> None:
    write(flat / "labels.csv", *ANIMALS, "0.png,Bär", encoding="cp1252")
    assert refusal(flat) == "labels.csv: not in UTF-8; save it as UTF-8"


def test_two_tables_of_one_split_are_refused(flat: Path) -> None:
    write(flat / "a.csv", *ANIMALS)
    write(flat / "b.csv", *ANIMALS)
    line = "b.csv: labels beside those of a.csv; keep one of them, or call them train.csv, val.csv"
    assert refusal(flat).startswith(line)


def test_splits_that_share_images_or_lack_classes_are_refused(flat: Path) -> None:
    write(flat / "train.csv", *ANIMALS)
    write(flat / "val.csv", *ANIMALS)
    line = (
        "val.csv, row 2: a validation image that is a train image in train.csv, row 2; remove one"
    )
    assert refusal(flat) == line
    draw(flat, "3.png", "4.png")
    write(flat / "val.csv", "file_name,label", "3.png,cat")
    (flat / "4.png").unlink()
    assert refusal(flat) == "root: no validation image has the label 'dog'"
    draw(flat, "4.png")
    write(flat / "val.csv", "file_name,label", "3.png,cat", "4.png,emu")
    assert refusal(flat) == "val.csv, row 3: no training image has the label 'emu'"
    (flat / "train.csv").unlink()
    write(flat / "val.csv", "file_name,label", "3.png,cat", "4.png,dog")
    assert refusal(flat).startswith("0.png: no row in val.csv")
