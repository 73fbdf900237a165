"""Whether the classes are the folders of the images, or stand in a table beside them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.classes import look
from pipeline.data.columns import label_columns
from pipeline.data.csv_tables import Table, read_table
from pipeline.data.finding import Finder
from pipeline.data.listing import Folder, has_images, images, of_kind, walk
from pipeline.data.params import TABLES
from pipeline.data.split_folders import split_around
from pipeline.harness.errors import DataError
from pipeline.harness.lacks import lack
from pipeline.harness.showing import shown


@dataclass(frozen=True, slots=True, kw_only=True)
class NamingRow:
    """A row that names images in folders. folders: names of those around the images."""

    where: str
    cells: Sequence[str]
    found: Sequence[Path]
    folders: frozenset[str]


def has_class_folders(tree: Folder) -> bool:
    """Whether the classes are folders side by side, and no table says other ones.

    Raises:
        DataError: a table names images in these folders, and it is unclear which is meant.
    """
    folders = list(_side_by_side(tree))
    paths = [path for folder in walk(tree) for path in of_kind(folder, TABLES)]
    if not folders or not paths:
        return bool(folders)
    finder = Finder(images(tree), tree.path)
    inside = {image for folder in folders for image in images(folder)}
    return not any(_says_others(path, finder, inside) for path in paths)


def _side_by_side(tree: Folder) -> Iterator[Folder]:
    """Yield the folders with images that lie beside another one, and are no splits."""
    for folder in walk(tree):
        found = [
            one
            for one in folder.folders
            if has_images(one) and not split_around(Path(one.name, "_"))
        ]
        if len(found) > 1:
            yield from found


def _says_others(path: Path, finder: Finder, inside: set[Path]) -> bool:
    """Whether a table labels images `inside` by other classes than their folders."""
    try:
        table = read_table(path, finder.root)
    except DataError as error:  # beside class folders, a table may have any form
        if lack(error):
            raise
        return False
    if table is None or table.is_submission:
        return False
    rows = _naming(table, finder, inside)
    columns = label_columns(table.header)
    # A list of the classes has each name once; its numbers may be names of images by chance.
    repeating = [one for one in columns if len({row.cells[one] for row in rows}) < len(rows)]
    if not repeating or any(_are_folders(rows, column) for column in columns):
        return False
    if not table.has_named_label:
        raise DataError(
            f"{shown(path)}: names images in {shown(rows[0].found[0].parent)}; if a column holds"
            " their classes, call it label; if their folders are the classes, remove the table"
        )
    label = table.label()
    assert label is not None
    contrary = [row for row in rows if _plain(row.cells[label]) not in row.folders]
    if len(contrary) < len(rows):
        row = contrary[0]
        raise DataError(
            f"{row.where}: the label {row.cells[label]!r}, but {shown(row.found[0])} is in another"
            " folder, unlike others; correct one of them, or remove the table"
        )
    return True


def _naming(table: Table, finder: Finder, inside: set[Path]) -> list[NamingRow]:
    """Return the rows that name images `inside`."""
    rows = []
    try:
        for where, cells in table.rows():
            candidates = finder.candidates(cells[table.image], table.path, table.own_split)
            if found := [image for image in candidates if image in inside]:
                around = (image.relative_to(finder.root).parent.parts for image in found)
                folders = frozenset(_plain(name) for parts in around for name in parts)
                rows.append(NamingRow(where=where, cells=cells, found=found, folders=folders))
    except DataError as error:
        if rows or lack(error):
            raise
    return rows


def _are_folders(rows: Sequence[NamingRow], column: int) -> bool:
    """Whether a column has the folders of the images, by their names or one for one."""
    if all(_plain(row.cells[column]) in row.folders for row in rows):
        return True
    pairs = {(row.cells[column], image.parent.name) for row in rows for image in row.found}
    labels, folders = ({pair[index] for pair in pairs} for index in range(2))
    return len(pairs) == len(labels) == len(folders) > 1


def _plain(name: str) -> str:
    """Return a name to compare it: 'Golden Retriever' is golden_retriever/."""
    return re.sub(r"[\W_]+", "", look(name))
