"""Where the images lie that `data.path` names: in a folder, an archive or parquet files.

What is packed is unpacked into a temporary folder; messages and names of images never show that.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pipeline.data import archives, parquet_files
from pipeline.data.layout import Layout, Stamps, read_layout, renamed
from pipeline.data.listed import read_listed
from pipeline.data.listing import Folder, list_folder, of_kind, walk
from pipeline.data.params import TABLES
from pipeline.harness.errors import DataError
from pipeline.harness.showing import shown

PACKED = archives.KINDS | {parquet_files.KIND}
"""Kinds of files that may have to be unpacked."""
READ = PACKED | TABLES
"""Kinds of files that are no images and may be read."""
UNPACKED = "unpacked"
"""Folder of an unpacked archive in the temporary one, which stands for that of the archive."""
ROWS = "rows"
"""Folder of the images of parquet files in it, which stands for that of those files."""


@contextmanager
def opened(path: Path, made: Path) -> Iterator[Layout]:
    """Give the images of a folder, an archive or a parquet file, as long as they are needed.

    made: folder for what is unpacked, which is removed at the end.

    Raises:
        DataError: at the start, it is missing, unreadable or of unclear meaning; at the end, it
            has changed meanwhile.
    """
    tree = _listed(path)
    before = _stamps(tree)
    shutil.rmtree(made, ignore_errors=True)  # of a run that was killed
    stand_ins = _stand_ins(made, tree.path)
    try:
        layout = _layout(tree, made)
        notes = tuple(renamed(note, stand_ins) for note in layout.notes)
        yield replace(layout, notes=notes, stand_ins=stand_ins, stamps=before)
    except DataError as error:
        _require_unchanged(path, before)
        raise DataError(renamed(str(error), stand_ins)) from None
    finally:
        shutil.rmtree(made, ignore_errors=True)
    _require_unchanged(path, before)


def _listed(path: Path) -> Folder:
    """Return the tree of a folder, or one that holds only this archive or parquet file."""
    if path.is_file() and (archives.is_archive(path) or path.suffix.lower() == parquet_files.KIND):
        others = {path: path.suffix.lower()}
        return Folder(path=path.parent, files=(), folders=(), others=others)
    return list_folder(path)


def _layout(tree: Folder, made: Path) -> Layout:
    """Return the layout of a tree, with all that it needs unpacked in `made`."""
    root = tree.path
    if archive := archives.only_archive(tree):
        root = made / UNPACKED
        archives.unpack(archive, root / archive.name)
        tree = list_folder(root / archive.name)
        if inner := archives.only_archive(tree):
            raise DataError(
                f"{shown(inner)}: an archive in an archive; unpack the outer one, and set"
                " data.path to the inner one"
            )
    layout = parquet_files.read_parquet(tree, root, made / ROWS)
    if layout is None:
        layout = replace(read_listed(tree) or read_layout(tree), root=root)
    return layout


def _stand_ins(made: Path, home: Path) -> Mapping[str, str]:
    """Return what the user calls each folder in `made`, by the start of its path."""
    start = shown(home / "_")[:-1]
    return {f"{shown(made / name)}/": start for name in (UNPACKED, ROWS)}


def _stamps(tree: Folder) -> Stamps:
    """Return path, size and time of every file that may be read."""
    paths = (path for one in walk(tree) for path in (*one.files, *of_kind(one, READ)))
    found = [(str(path), path.stat()) for path in paths]
    return tuple((name, facts.st_size, facts.st_mtime_ns) for name, facts in found)


def _require_unchanged(path: Path, before: Stamps) -> None:
    if _stamps(_listed(path)) != before:
        raise DataError(
            f"{shown(path)}: images were added, removed or changed while they were read;"
            " run it again when that is over"
        )
