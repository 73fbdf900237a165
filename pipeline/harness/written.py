"""What a stage writes, noted while it is written.

The digest of a file that is read again would be right for any file that was put in its place.
"""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Written:
    """A file as it was written. md5: in hexadecimal digits, as DVC has it. identity: see below."""

    md5: str
    identity: tuple[int, ...]


@dataclass(slots=True)
class Notes:
    """The files that this process has written in `folder`; none as long as that is None."""

    folder: Path | None = None
    files: dict[Path, Written] = field(default_factory=dict)

    def cover(self, path: Path) -> bool:
        """Whether a file is noted when it is written."""
        return self.folder is not None and path.is_relative_to(self.folder)


NOTES = Notes()
"""The outputs of this process, which runs one stage."""


def md5(path: Path) -> str:
    """Return the digest of a file as DVC has it."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    return found.hexdigest()


def identity(file: os.stat_result) -> tuple[int, ...]:
    """Return what differs if another file takes a file's place: inode, size, time in ns."""
    return file.st_ino, file.st_size, file.st_mtime_ns
