"""An archive is read as the folder in it; messages name its files, never the temporary folder."""

import errno
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pipeline.data import archives
from pipeline.data.opening import opened
from pipeline.data.params import DataParams
from pipeline.harness.errors import DataError
from tests.data.drawing import draw, many, pack, pixels, read_folder, refusal, spoil

ROOT = Path(__file__).resolve().parents[2]
SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    names = [*many("train", "cat", "dog", count=3), *many("test", "cat", "dog", count=2)]
    return draw(tmp_path / "animals", *names, "train/cat/notes.txt", "__MACOSX/._1.png")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_archive_is_read_as_the_folder_in_it(
    suffix: str,
    animals: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    archive = pack(animals, tmp_path / f"Photos{suffix}")
    expected, found = read_folder(animals, 4), read_folder(archive, 4)
    assert found.classes == expected.classes
    assert np.array_equal(found.train.images, expected.train.images)
    assert found.test is not None
    assert expected.test is not None
    assert np.array_equal(found.test.images, expected.test.images)
    said = capsys.readouterr().out
    assert f"unpacking {archive}\n" in said
    assert said.count("skipped 1 file that is no image: 1 .txt; skipped folders: 1 __MACOSX") == 2


def test_a_folder_that_holds_only_an_archive_is_read_as_the_archive(
    animals: Path, tmp_path: Path
) -> None:
    draw(tmp_path / "data", "README.md", ".DS_Store", "LICENSE")
    archive = pack(animals, tmp_path / "data/photos.zip")
    assert read_folder(tmp_path / "data", 4).classes == ("cat", "dog")
    for path in (archive, archive.parent):
        with opened(path, tmp_path / "unpacked") as layout:
            assert layout.name(layout.train[1][2]) == "photos.zip/train/dog/2.png"
    with opened(animals, tmp_path / "unpacked") as layout:
        assert layout.name(layout.train[1][2]) == "train/dog/2.png"


def test_an_archive_beside_classes_is_skipped(animals: Path) -> None:
    pack(animals, animals / "train/backup.zip")
    assert len(read_folder(animals, 4).train) == 6


def test_mistakes_in_an_archive_are_named_by_their_place_in_it(
    animals: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(animals, "train/dog/1.png", "test/cat/0.png")
    archive = pack(animals, tmp_path / "photos.zip")
    with pytest.raises(DataError) as caught:
        read_folder(archive, 4)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(f"{archive}/train/dog/1.png: not a readable image")
    assert lines[1].startswith(f"{archive}/test/cat/0.png: not a readable image")
    read_folder(archive, 4, unreadable="skip")
    assert f"the first is {archive}/train/dog/1.png: not a" in capsys.readouterr().out
    draw(animals, "train/emu/1.png")
    line = refusal(pack(animals, archive))
    assert line == "test: no folder for class 'emu' of train"


def test_an_archive_around_a_folder_is_entered_and_that_is_told(
    animals: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    animals.rename(outer / "animals")
    archive = pack(outer, tmp_path / "a.tar")
    read_folder(archive, 4)
    assert f"{archive}/animals: entered, because" in capsys.readouterr().out


def test_names_that_lead_out_of_a_zip_stay_in_it(tmp_path: Path) -> None:
    image = draw(tmp_path, "1.png") / "1.png"
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as packed:
        for name in ("../../cat/1.png", "/dog/1.png", "dog\\2.png"):
            packed.write(image, name)
    with opened(tmp_path / "photos.zip", tmp_path / "unpacked") as layout:
        assert layout.classes == ("cat", "dog")
        assert all(
            path.is_relative_to(layout.root) for path in (*layout.train[0], *layout.train[1])
        )
    assert not (tmp_path.parent / "cat").exists()


@pytest.mark.parametrize("name", ["cat/1.png", "../cat/1.png", "cat\\1.png", "/cat/./1.png"])
@pytest.mark.filterwarnings("ignore:Duplicate name")  # zipfile's own, while it writes
def test_two_files_of_a_zip_that_end_up_in_one_place_are_refused(name: str, tmp_path: Path) -> None:
    image = draw(tmp_path, "1.png") / "1.png"
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as packed:
        for one in ("cat/1.png", "dog/1.png", name):
            packed.write(image, one)
    line = "root: two files called cat/1.png; rename or remove one"
    assert refusal(tmp_path / "photos.zip") == line


def test_of_two_files_of_one_name_in_a_tar_the_last_one_is_read(tmp_path: Path) -> None:
    draw(tmp_path, "0.png", "1.png", "2.png")
    with tarfile.open(tmp_path / "photos.tar", "w") as packed:
        for file, name in (("0", "cat"), ("1", "dog"), ("2", "cat")):
            packed.add(tmp_path / f"{file}.png", f"{name}/1.png")
    found = pixels(read_folder(tmp_path / "photos.tar", 4).train)
    assert found[:, 0, 0, 0].tolist() == [2, 1]


@pytest.mark.parametrize("name", ["../cat/1.png", "link"])
def test_a_tar_that_leads_out_is_refused(name: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "photos.tar", "w") as packed:
        member = tarfile.TarInfo(name)
        if name == "link":
            member.type, member.linkname = tarfile.SYMTYPE, "/etc"
        packed.addfile(member)
    line = refusal(tmp_path / "photos.tar")
    assert line == f"root: not a readable archive ({name} would lead out of it)"


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("part", [0, 0.3, 0.99])
def test_an_archive_that_is_cut_off_is_refused(
    part: float, suffix: str, animals: Path, tmp_path: Path
) -> None:
    archive = pack(animals, tmp_path / f"photos{suffix}")
    content = archive.read_bytes()
    whole = len(content.rstrip(b"\0")) if suffix == ".tar" else len(content)
    archive.write_bytes(content[: int(part * whole)])
    assert refusal(archive).startswith("root: not a readable archive (")


def test_a_tar_that_is_cut_off_between_two_files_is_refused(animals: Path, tmp_path: Path) -> None:
    archive = pack(animals, tmp_path / "photos.tar")
    with tarfile.open(archive) as packed:
        end = packed.getmembers()[-2].offset
    archive.write_bytes(archive.read_bytes()[:end])
    assert refusal(archive) == "root: not a readable archive (it ends too early)"


def test_a_damaged_byte_in_a_compressed_tar_is_found(animals: Path, tmp_path: Path) -> None:
    archive = pack(animals, tmp_path / "photos.tgz")
    content = bytearray(archive.read_bytes())
    content[-6] ^= 1  # in the checksum
    archive.write_bytes(content)
    assert "not a readable archive (CRC check failed" in refusal(archive)


def test_a_file_that_is_no_archive_and_an_empty_one_are_refused(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        path = tmp_path / f"text{suffix}"
        path.write_text("a text" * 1000)
        assert refusal(path).startswith("root: not a readable archive (")
    (tmp_path / "none").mkdir()
    for suffix in SUFFIXES:
        empty = pack(tmp_path / "none", tmp_path / f"empty{suffix}")
        assert refusal(empty) == "root: an empty archive"


def test_an_encrypted_zip_says_what_to_do(animals: Path, tmp_path: Path) -> None:
    archive = pack(animals, tmp_path / "photos.zip")
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1  # the flags of the first file in the directory
    archive.write_bytes(content)
    assert refusal(archive) == "root: encrypted; unpack it with its password"


def test_several_archives_and_one_in_another_are_refused(animals: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    pack(animals, folder / "test.zip")
    pack(animals, folder / "train.zip")
    expected = "no images, but test.zip and train.zip; unpack what holds the images in this folder"
    assert refusal(folder).startswith(f"root: {expected}")
    (folder / "train.zip").unlink()
    outer = pack(folder, tmp_path / "outer.zip")
    assert refusal(outer).startswith("test.zip: an archive in an archive; unpack the outer one")
    (folder / "labels.csv").write_text("file,label\n")
    assert refusal(folder).startswith("root: no images, but test.zip and labels.csv; unpack what")


def test_what_is_unpacked_is_removed_at_the_end_and_after_a_refusal(
    animals: Path, tmp_path: Path
) -> None:
    made = tmp_path / "unpacked"
    with opened(pack(animals, tmp_path / "photos.zip"), made) as layout:
        assert layout.train[0][0].is_relative_to(made)
        assert layout.train[0][0].exists()
    assert not made.exists()
    one_class = pack(draw(tmp_path / "one", "cat/1.png"), tmp_path / "one.zip")
    with pytest.raises(DataError, match="only one class"), opened(one_class, made):
        pass
    assert not made.exists()


def test_a_full_disk_is_told(
    animals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = pack(animals, tmp_path / "photos.zip")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfileobj", full)  # how zipfile writes
    with pytest.raises(OSError, match=r"no space left to unpack it") as refused:
        read_folder(archive, 4)
    assert (refused.value.errno, refused.value.filename) == (errno.ENOSPC, str(archive))


def test_an_archive_that_changes_while_it_is_read_is_refused(animals: Path, tmp_path: Path) -> None:
    archive = pack(animals, tmp_path / "photos.zip")
    changed = r"photos.zip: images were added, removed or changed"
    made = tmp_path / "unpacked"
    with pytest.raises(DataError, match=changed), opened(archive, made):
        os.utime(archive, ns=(1, 1))


def test_what_a_killed_run_unpacked_is_gone_after_the_next(tmp_path: Path) -> None:
    names = [f"{name}/{index}.png" for name in ("cat", "dog") for index in range(2000)]
    archive = pack(draw(tmp_path / "many", *names), tmp_path / "photos.zip")
    data = DataParams(name="image_folder", path=str(archive), duplicates="keep")
    (tmp_path / "params.yaml").write_text(
        json.dumps({"seed": 0, "data": data.model_dump(mode="json")})
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "stages.prepare", "out"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    scratch = tmp_path / ".aso-se/scratch"
    while not list(scratch.glob("*/unpacked/unpacked/photos.zip/cat/1*.png")):
        assert process.poll() is None
        time.sleep(0.001)
    process.kill()
    process.wait()
    subprocess.run(
        [sys.executable, "-m", "stages.prepare", "out"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
    )
    assert (tmp_path / "out/dataset.json").exists()
    assert list(scratch.iterdir()) == []


def test_of_a_folder_of_photos_nothing_is_unpacked(animals: Path, tmp_path: Path) -> None:
    with opened(animals, tmp_path / "unpacked") as layout:
        assert not (tmp_path / "unpacked").exists()
        path = layout.train[0][0]
        assert layout.told(f"{path}: no image") == f"{path}: no image"


def test_every_suffix_of_an_archive_is_of_a_known_kind() -> None:
    assert all(f".{suffix.rpartition('.')[2]}" in archives.KINDS for suffix in SUFFIXES)
