"""A file is either the old one or the new one."""

import errno
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.harness.files import write_atomically


def full_disk(_: int) -> None:
    raise OSError(28, "No space left on device")


@given(content=st.binary(max_size=64))
def test_what_is_written_is_read(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("files") / "new" / "folder" / "file"
    write_atomically(path, content)
    assert path.read_bytes() == content
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_the_old_file_survives_a_full_disk_and_nothing_partial_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_hard_link_to_the_old_file_keeps_the_old_content(tmp_path: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "cache"
    write_atomically(path, b"old")
    link.hardlink_to(path)
    write_atomically(path, b"new")
    assert (path.read_bytes(), link.read_bytes()) == (b"new", b"old")


def test_a_partial_file_that_a_crash_left_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "file"
    (tmp_path / ".file.partial").write_bytes(b"half")
    write_atomically(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_sync_folders_is_written_to(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        synced(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomically(tmp_path / "new/file", b"whole")
    assert (tmp_path / "new/file").read_bytes() == b"whole"


def test_a_broken_disk_that_cannot_sync_a_folder_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match=r"Input/output error: .*new/file"):
        write_atomically(tmp_path / "new/file", b"whole")
