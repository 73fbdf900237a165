"""Files that are either complete or absent."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from pipeline.harness.ranks import is_first
from pipeline.harness.written import NOTES, Written, identity


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` durably, as `write_in_parts` does."""
    write_in_parts(path, [content])


def write_in_parts(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write a file durably: a temporary file beside `path`, fsync, rename, fsync of the folder.

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


def _write(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
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
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
