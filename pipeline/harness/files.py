"""Files that are either whole or not there."""

import os
from pathlib import Path

from pipeline.harness.ranks import is_first


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` durably: a temporary file beside `path`, fsync, rename, fsync of the folder.

    A reader sees the old file or the new one, never a part; on a full disk the old one survives. A
    new inode each time, so that a hard link from DVC's cache is never written through. Of several
    processes that train together only the first writes.

    Raises:
        OSError: it names `path`, which a failed write by itself does not.
    """
    if not is_first():
        return
    try:
        _write(path, content)
    except OSError as error:
        error.filename = str(path)
        raise


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
