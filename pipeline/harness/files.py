"""Files that are either complete or absent."""

import errno
import glob
import hashlib
import os
import socket
from collections.abc import Iterable
from pathlib import Path
from threading import get_ident

from pipeline.harness.ranks import is_first
from pipeline.harness.written import NOTES, Written, identity

PARTIAL = ".partial"
"""Last part of the name of a file that is not yet complete."""
ATTEMPTS = 3
"""Number of times that a file is written if its folder disappears meanwhile."""

CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
"""Numbers of the errors of a file system that cannot sync a folder (SMB, some of FUSE)."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` durably, as `write_in_parts` does, even if others remove the folder."""
    for left in reversed(range(ATTEMPTS)):
        try:
            return write_in_parts(path, [content])
        except FileNotFoundError:  # another run of the same stage removes its resume points
            if not left:
                raise
    return None


def write_in_parts(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write a file durably: a temporary file beside `path`, fsync, rename, fsync of the folder.

    The folder and those above it are created if missing, and synced in those that have them. Where
    folders cannot be synced, a power cut may lose a new file as a whole; no program can prevent it.
    A reader sees the old file or the new one, never a part; on a full disk the old one survives.
    So it is if several processes write the same file.
    Each write makes a new inode, so that a file hard-linked to DVC's cache is never overwritten.
    Of several processes that train together, only the first writes.

    Raises:
        OSError: names `path`, which the error of a failed write alone does not.
    """
    if not is_first():
        return
    try:
        _write(path, parts)
    except OSError as error:
        error.filename = str(path)
        raise


def make_folder(folder: Path) -> None:
    """Create a folder and all above it that are missing, each durably; raise OSError if one fails.

    What keeps a file that a run goes on from needs this: synced names in a lost folder are lost.
    """
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for one in missing:
        _sync(one.parent)


def _write(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    make_folder(path.parent)
    partial = path.with_name(f"{_begin(path)}{os.getpid()}-{get_ident()}{PARTIAL}")
    noted, digest = NOTES.cover(path), hashlib.md5(usedforsecurity=False)
    try:
        with partial.open("wb") as file:
            for part in parts:
                file.write(part)
                if noted:
                    digest.update(part)
            file.flush()
            os.fsync(file.fileno())
            made = identity(os.fstat(file.fileno()))
        partial.replace(path)
        if noted:
            NOTES.files[path] = Written(digest.hexdigest(), made)
    finally:
        partial.unlink(missing_ok=True)
        _remove_left(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    """Make the names in a folder durable, if its file system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in CANNOT_SYNC:
            raise
    finally:
        os.close(descriptor)


def _remove_left(path: Path) -> None:
    """Remove the temporary files that processes of this machine left when they were killed."""
    begin = _begin(path)
    for other in path.parent.glob(f"{glob.escape(begin)}*{PARTIAL}"):
        number = other.name.removeprefix(begin).partition("-")[0]
        if number.isdecimal() and not _runs(int(number)):
            other.unlink(missing_ok=True)


def _begin(path: Path) -> str:
    """Return how the names of a file's temporary files on this machine begin."""
    return f".{path.name}.{socket.gethostname()}."


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return True
