"""Files that are either complete or absent."""

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from pipeline.harness.ranks import is_first

CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
"""Numbers of the errors of a file system that cannot sync a folder (SMB, some of FUSE)."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` durably, as `write_in_parts` does."""
    write_in_parts(path, [content])


def write_in_parts(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write a file durably: a temporary file beside `path`, fsync, rename, fsync of the folder.

    The folder and those above it are created if missing, and synced in those that have them. Where
    folders cannot be synced, a power cut may lose a new file as a whole; no program can prevent it.
    A reader sees the old file or the new one, never a part; on a full disk the old one survives.
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
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
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
