"""Parquet files of images are read as folders are; rows name the images."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pytest
from pyarrow.parquet import write_table

from pipeline.data import parquet_files
from pipeline.data.opening import opened
from pipeline.harness.errors import DataError
from tests.data.drawing import draw, pack, read_folder, refusal, write_parquet
from tests.data.test_csv_tables import levels

ROOT = Path(__file__).resolve().parents[2]
LABELS = ("dog", "cat", "dog", "dog", "cat")


@pytest.mark.parametrize("named", [True, False])
def test_labels_are_texts_or_numbers_with_names(named: bool, tmp_path: Path) -> None:
    labels: Sequence[int | str] = [("cat", "dog").index(one) for one in LABELS] if named else LABELS
    path = write_parquet(tmp_path / "a.parquet", labels, names=("cat", "dog") if named else ())
    assert levels(read_folder(path, 4)) == {"cat": [1, 4], "dog": [0, 2, 3]}


def test_numbers_without_names_are_the_classes(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", [3, 1, 3])
    assert levels(read_folder(path, 4)) == {"1": [1], "3": [0, 2]}


def test_files_and_folders_say_the_split(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    write_parquet(folder / "data/train-00000-of-00002.parquet", LABELS)
    write_parquet(folder / "data/train-00001-of-00002.parquet", LABELS, first=10)
    write_parquet(folder / "data/validation-00000-of-00001.parquet", LABELS, first=20)
    write_parquet(folder / "test/0000.parquet", LABELS, first=30)
    draw(folder, "README.md")
    source = read_folder(folder, 4)
    assert levels(source) == {"cat": [1, 4, 11, 14], "dog": [0, 2, 3, 10, 12, 13]}
    assert levels(source, "validation") == {"cat": [21, 24], "dog": [20, 22, 23]}
    assert levels(source, "test") == {"cat": [31, 34], "dog": [30, 32, 33]}
    with opened(folder, tmp_path / "unpacked") as layout:
        assert layout.name(layout.train[0][0]) == "data/train-00000-of-00002.parquet/row 1"
    archive = pack(folder, tmp_path / "photos.zip")
    with opened(archive, tmp_path / "unpacked") as layout:
        name = "photos.zip/data/train-00000-of-00002.parquet/row 1"
        assert layout.name(layout.train[0][0]) == name
    with opened(folder / "test/0000.parquet", tmp_path / "unpacked") as layout:
        assert layout.name(layout.train[0][0]) == "0000.parquet/row 1"


def test_a_test_file_whose_labels_are_kept_back_is_not_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_parquet(tmp_path / "a/train.parquet", [0, 1, 1], names=("cat", "dog"))
    write_parquet(tmp_path / "a/test.parquet", [-1, -1], names=("cat", "dog"))
    assert read_folder(tmp_path / "a", 4).test is None
    said = capsys.readouterr().out
    assert f"{tmp_path}/a: test images not read, as they have no labels" in said
    write_parquet(tmp_path / "a/test.parquet", [-1, 1], names=("cat", "dog"))
    assert refusal(tmp_path / "a") == "root: 1 test images without a label; remove these rows"


def test_a_path_without_a_folder_is_named_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_parquet(tmp_path / "photos/a.parquet", ["cat", "dog", "cat"])
    pack(tmp_path / "photos", tmp_path / "photos.tar")
    write_parquet(tmp_path / "b.parquet", ["cat", "cat", "cat"])
    monkeypatch.chdir(tmp_path)
    with opened(Path("photos.tar"), tmp_path / "unpacked") as layout:
        assert layout.name(layout.train[0][1]) == "photos.tar/a.parquet/row 2"
        said = layout.told(f"{layout.root}/photos.tar/a.parquet/row 2: no image")
        assert said == "photos.tar/a.parquet/row 2: no image"
    expected = "b.parquet: only one label, 'cat'; a classifier needs at least two"
    with pytest.raises(DataError, match=f"^{expected}$"):
        read_folder(Path("b.parquet"), 4)


def test_an_unreadable_image_is_named_by_its_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.parquet"
    images = [{"bytes": b"none", "path": "x.jpg"}, *write_images(tmp_path, 3)]
    write_table(pa.table({"photo": images, "species": ["a", "a", "b", "b"]}), path)
    assert refusal(path).startswith("row 0: not a readable image (its format is none of")
    read_folder(path, 4, unreadable="skip")
    assert f"the first is {path}/row 0: not a readable" in capsys.readouterr().out


def write_images(folder: Path, count: int) -> list[dict[str, object]]:
    draw(folder, *(f"{index}.png" for index in range(count)))
    return [
        {"bytes": (folder / f"{index}.png").read_bytes(), "path": None} for index in range(count)
    ]


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        ({"image": 1, "fine": 1, "coarse": 1}, "the columns fine, coarse may all hold the labels"),
        ({"image": 1, "photo": 1, "label": 1}, "2 columns of images (structs of bytes and path)"),
        ({"text": 1, "label": 1}, "0 columns of images (structs of bytes and path), expected one"),
        ({"image": 1}, "no column of labels"),
        ({"image": 1, "share": 0.5}, "share is of double; labels are integers or texts"),
    ],
)
def test_columns_that_are_unclear_are_refused(
    columns: dict[str, object], line: str, tmp_path: Path
) -> None:
    images = write_images(tmp_path / "images", 2)
    table = {
        name: images if name in {"image", "photo"} else [value, value]
        for name, value in columns.items()
    }
    write_table(pa.table(table), tmp_path / "a.parquet")
    assert refusal(tmp_path / "a.parquet").startswith(f"root: {line}")


def test_other_mistakes_are_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a/train.parquet", LABELS)
    write_parquet(tmp_path / "a/more.parquet", LABELS)
    assert refusal(tmp_path / "a").startswith("more.parquet: of no split, unlike other files; call")
    path.write_bytes(path.read_bytes()[:-300])
    assert refusal(path).startswith("root: not a readable parquet file (")
    write_parquet(path, [0, 5], names=("cat", "dog"))
    assert refusal(path) == "root, row 1: the label 5, but names of 0 to 1"
    table = pa.table({"image": [{"bytes": None, "path": "x"}, None], "label": [0, 1]})
    table = table.cast(
        pa.schema(
            {
                "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
                "label": pa.int64(),
            }
        )
    )
    write_table(table, path)
    assert refusal(path) == "root, row 0: no image in it, only the path of one elsewhere"


def test_files_whose_labels_have_other_names_are_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a/train-0.parquet", [0, 1], names=("cat", "dog"))
    line = (
        "train-1.parquet: other names of labels than in train-0.parquet; write both with the same"
        " names, or remove one"
    )
    for names in ((), ("dog", "cat"), ("cat", "dog", "emu")):
        write_parquet(tmp_path / "a/train-1.parquet", [0, 1], names=names)
        assert refusal(tmp_path / "a") == line


def test_files_of_one_split_in_two_folders_are_refused(tmp_path: Path) -> None:
    for config in ("full", "small"):
        write_parquet(tmp_path / config / "test-0.parquet", LABELS)
        write_parquet(tmp_path / config / "train-0.parquet", LABELS)
    line = (
        "small/test-0.parquet: of the same split as full/test-0.parquet, in another folder; set"
        " data.path to one of the folders, or move the files into one"
    )
    assert refusal(tmp_path) == line
    assert read_folder(tmp_path / "small", 4).classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("labels", "names"), [(["cat", "dog", " ", "cat"], ()), ([0, 1, 2, 0], ("cat", "dog", ""))]
)
def test_an_empty_text_is_no_label(
    labels: Sequence[int | str], names: Sequence[str], tmp_path: Path
) -> None:
    path = write_parquet(tmp_path / "a.parquet", labels, names=names)
    assert refusal(path) == "root, row 2: no label; add it, or remove the row"


def test_memory_holds_a_few_row_groups_and_not_the_file(tmp_path: Path) -> None:
    path, content = tmp_path / "a.parquet", np.random.default_rng(0).bytes(100_000)
    images = [{"bytes": content, "path": None}] * 200  # 20 MB, of which a group of 10 is 1
    table = pa.table({"image": images, "label": ["cat", "dog"] * 100})
    write_table(table, path, row_group_size=10, use_dictionary=False, compression="none")
    code = f"""
from pathlib import Path
import pyarrow
from pipeline.data.opening import opened
with opened(Path({str(path)!r}), Path({str(tmp_path)!r}, 'unpacked')) as layout:
    assert len(layout.train[0]) == 100
print(pyarrow.default_memory_pool().max_memory())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert path.stat().st_size > 20_000_000
    assert int(done.stdout.splitlines()[-1]) < 8_000_000


def test_without_pyarrow_a_line_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_parquet(tmp_path / "a.parquet", LABELS)

    def missing(name: str) -> ModuleType:
        raise ImportError(name)

    monkeypatch.setattr(parquet_files, "import_module", missing)
    assert refusal(path) == "root: a parquet file; to read it, install pyarrow"
