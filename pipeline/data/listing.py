"""A folder as a tree of the files that may be images; all others are only counted.

Names alone decide, no file is opened. Files and folders are sorted by name in one Unicode form,
so that their order is the same on every machine.
"""

import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.kinds import IMAGE_SUFFIXES, other_file, other_folder, suffix
from pipeline.harness.errors import DataError
from pipeline.harness.showing import shown

DOWNLOADS = "downloads"
"""Folder directly in `data.path` that holds the downloads of torchvision and is no class."""

MOST_LEVELS = 40
"""Largest number of folders inside each other; many more would exhaust Python's stack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder with all below it. files: may be images. others: all else that lies in it, by path.

    The value is the kind, such as '.csv', 'hidden' or '__MACOSX/', by which it is counted.
    """

    path: Path
    files: tuple[Path, ...]
    folders: tuple["Folder", ...]
    others: Mapping[Path, str]

    @property
    def name(self) -> str:
        """Name in composed Unicode (NFC), which is the same on macOS and Linux."""
        return composed(self.path.name)


def composed(name: str) -> str:
    """Return a name in composed Unicode (NFC): 'e' and its accent are one character."""
    return unicodedata.normalize("NFC", name)


def list_folder(path: Path, level: int = 0) -> Folder:
    """Read the names of everything under a folder. level: number of folders around it.

    Raises:
        DataError: a folder is missing, cannot be read, or is a link, behind which DVC sees nothing.
    """
    if level > MOST_LEVELS:
        raise DataError(f"{shown(path)}: more than {MOST_LEVELS} folders inside each other")
    files, folders, others = [], [], {}
    for entry in _entries(path):
        inner, is_folder = path / entry.name, _is_folder(entry)
        if kind := other_folder(entry.name) if is_folder else other_file(entry.name):
            others[inner] = kind
        elif is_folder and (level > 0 or entry.name != DOWNLOADS):
            _require_no_link(inner)
            folders.append(list_folder(inner, level + 1))
        elif not is_folder:
            _require_file(inner, entry)
            files.append(inner)
    return Folder(path=path, files=tuple(files), folders=tuple(folders), others=others)


def walk(folder: Folder) -> Iterator[Folder]:
    """Yield a folder and all folders below it, in order."""
    yield folder
    for inner in folder.folders:
        yield from walk(inner)


def images(folder: Folder) -> tuple[Path, ...]:
    """Return all files under a folder that may be images, in order."""
    return tuple(file for one in walk(folder) for file in one.files)


def has_images(folder: Folder) -> bool:
    """Whether any file under a folder may be an image."""
    return any(one.files for one in walk(folder))


def named_as_images(folder: Folder) -> list[Path]:
    """Return the files directly in a folder that have the suffix of an image."""
    return [file for file in folder.files if suffix(file.name) in IMAGE_SUFFIXES]


def of_kind(folder: Folder, kinds: Collection[str]) -> list[Path]:
    """Return the files directly in a folder that are no images and of one of these kinds."""
    return [path for path, kind in folder.others.items() if kind in kinds]


def skipped(folder: Folder, outside: Iterable[Path], read: Collection[Path] = ()) -> Iterator[str]:
    """Yield a line that counts what is not read, if there is any.

    outside: files of no known suffix that lie outside of all classes. read: tables that were read.
    """
    endings = (suffix(file.name) for file in outside)
    kinds = Counter(f".{ending}" if ending else "without a suffix" for ending in endings)
    for one in walk(folder):
        kinds.update(kind for path, kind in one.others.items() if path not in read)
    files, folders = (
        [(kind, count) for kind, count in kinds.most_common() if kind.endswith("/") is is_folder]
        for is_folder in (False, True)
    )
    parts = []
    if files:
        total = sum(count for _, count in files)
        what = "file that is no image" if total == 1 else "files that are no images"
        parts.append(f"skipped {total} {what}: {_counted(files)}")
    if folders:
        parts.append(f"skipped folders: {_counted(folders)}")
    if parts:
        yield "; ".join(parts)


def _counted(kinds: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{count} {shown(Path(kind))}" for kind, count in kinds)


def _entries(path: Path) -> list[os.DirEntry[str]]:
    """Return the entries of a folder, sorted by name."""
    expected = f"expected {shown(path)}/<class>/<image>"
    try:
        with os.scandir(path) as entries:  # knows what is a folder without asking for each file
            return sorted(entries, key=lambda entry: (composed(entry.name), entry.name))
    except FileNotFoundError:
        raise DataError(f"{shown(path)}: no such folder; {expected}") from None
    except NotADirectoryError:
        raise DataError(f"{shown(path)}: not a folder; {expected}") from None
    except OSError as error:
        raise DataError(f"{shown(path)}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # a null character
        raise DataError(f"{shown(path)}: cannot be read: {error}") from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or into a folder that may not be read
        return False


def _require_no_link(folder: Path) -> None:
    if folder.is_symlink():
        raise DataError(
            f"{shown(folder)}: a link to a folder, and DVC does not see what changes behind it;"
            " copy the folder here, or set data.path to the real place"
        )


def _require_file(path: Path, entry: os.DirEntry[str]) -> None:
    try:
        is_file = entry.is_file()
    except OSError:
        is_file = False
    if not is_file:
        raise DataError(f"{shown(path)}: not a file, or a link to none; remove it")
