"""A file is either the old one or the new one."""

import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
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


def test_a_partial_file_that_a_crash_left_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    killed = "from pathlib import Path; import os; from pipeline.harness.files import *;"
    killed += f"write_in_parts(Path({str(path)!r}), (os.abort() for _ in 'a'))"
    done = subprocess.run([sys.executable, "-c", killed], check=False)
    assert done.returncode == -signal.SIGABRT
    assert len(list(tmp_path.iterdir())) == 1
    write_atomically(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


WRITERS = """
import sys, time
from pathlib import Path
from pipeline.harness.files import write_atomically
path, byte, end = Path(sys.argv[1]), sys.argv[2].encode(), time.monotonic() + 2
while time.monotonic() < end:
    write_atomically(path, byte * 200_000)
"""


def test_several_processes_may_write_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    write_atomically(path, b"0" * 200_000)
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITERS, path, byte]) for byte in ("1", "2", "3")
    ]
    while any(writer.poll() is None for writer in writers):
        content = path.read_bytes()
        assert content == content[:1] * 200_000
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("times", [1, 99])
def test_a_folder_that_another_process_removes_is_made_again_a_few_times(
    times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, left = tmp_path / "folder" / "file", iter(range(times))

    def removed(_: int) -> None:
        if next(left, None) is not None:
            shutil.rmtree(path.parent)

    monkeypatch.setattr(os, "fsync", removed)
    if times == 1:
        write_atomically(path, b"whole")
        assert path.read_bytes() == b"whole"
    else:
        with pytest.raises(FileNotFoundError, match="folder/file"):
            write_atomically(path, b"whole")


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
