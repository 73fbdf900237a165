"""Images whose labels stand in a table beside them: csv files as of Kaggle and Hugging Face."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

from pipeline.data.classes import look
from pipeline.data.csv_tables import Table, read_tables
from pipeline.data.finding import Finder
from pipeline.data.folders_or_table import has_class_folders
from pipeline.data.layout import Layout
from pipeline.data.listing import (
    Folder,
    has_images,
    images,
    named_as_images,
    of_kind,
    skipped,
    walk,
)
from pipeline.data.params import TABLES
from pipeline.data.rows import Row, lay_out
from pipeline.data.split_folders import SPLITS
from pipeline.harness.errors import DataError
from pipeline.harness.showing import shown


def read_listed(tree: Folder) -> Layout | None:
    """Return the layout of a folder whose tables say the classes; None if there is no such table.

    Raises:
        DataError: the tables are unclear, a row has no image or an image no row.
    """
    paths = [path for folder in walk(tree) for path in of_kind(folder, TABLES)]
    if not paths or not has_images(tree) or has_class_folders(tree):
        return None
    found = read_tables(tree)
    tables = [table for table in found if not table.is_submission]
    if not tables:
        raise DataError(
            f"{shown(paths[0])}: no column names the images; call it file_name, and that of"
            " their classes label"
        )
    labelled = [table for table in tables if table.has_named_label] or [
        table for table in tables if table.label() is not None
    ]
    if not labelled:
        raise DataError(
            f"{shown(tables[0].path)}: no column of labels; add one with the class of each image,"
            " called label"
        )
    _require_one_of_each_split(labelled)
    finder = Finder(images(tree), tree.path)
    rows = [row for table in labelled for row in _rows(table, finder)]
    if not rows:
        raise DataError(f"{shown(labelled[0].path)}: no rows")
    others = [table for table in found if table not in labelled]
    named = {row.image for row in rows}
    return lay_out(
        rows,
        table=labelled[0].path if len(labelled) == 1 else tree.path,
        root=tree.path,
        notes=(
            *(f"{shown(table.path)}: the classes are in this table" for table in labelled),
            *_left_out(tree, named, labelled[0], others, finder),
            *skipped(tree, _unknown(tree, named), [table.path for table in labelled]),
        ),
    )


def _require_one_of_each_split(tables: Sequence[Table]) -> None:
    for one, other in combinations(tables, 2):
        if None in {one.own_split, other.own_split} or one.own_split == other.own_split:
            raise DataError(
                f"{shown(other.path)}: labels beside those of {shown(one.path)}; keep one of"
                " them, or call them train.csv, val.csv and test.csv"
            )


def _rows(table: Table, finder: Finder) -> Iterator[Row]:
    label = table.label()
    assert label is not None
    for where, cells in table.rows():
        if not cells[label]:
            raise DataError(f"{where}: no label; add it, or remove the row and the image")
        said = None if table.split is None else _split(cells[table.split], where)
        image = finder.find(cells[table.image], table.path, said or table.own_split, where)
        split = said or table.own_split or finder.split_of(image) or "train"
        yield Row(image=image, label=cells[label], split=split, where=where)


def _split(cell: str, where: str) -> str:
    split = SPLITS.get(look(cell))
    if split is None:
        raise DataError(f"{where}: {cell!r} is no split; expected train, val or test")
    return split


def _left_out(
    tree: Folder, named: set[Path], table: Table, others: Sequence[Table], finder: Finder
) -> Iterator[str]:
    """Yield a line for the images without labels; raise DataError if they may lack a row.

    Images in a folder of the test split need none, nor do those of a test table without labels.
    """
    unlabelled = {
        image
        for other in others
        if other.is_submission or other.own_split == "test"
        for _, cells in other.rows()
        for image in finder.candidates(cells[other.image], other.path, "test")
    }
    left = [
        image for folder in walk(tree) for image in named_as_images(folder) if image not in named
    ]
    lacking = [
        image for image in left if image not in unlabelled and finder.split_of(image) != "test"
    ]
    if lacking:
        more = f" (the first of {len(lacking):,} images)" if len(lacking) > 1 else ""
        raise DataError(
            f"{shown(lacking[0])}: no row in {shown(table.path)}{more}; add rows, or move"
            " images without a label away, or into a folder called test"
        )
    if left:
        yield f"images without labels, left out: {len(left):,}; the first is {shown(left[0])}"


def _unknown(tree: Folder, named: set[Path]) -> list[Path]:
    """Return the files without the suffix of an image that no row names."""
    return [
        file
        for folder in walk(tree)
        for file in sorted(set(folder.files) - set(named_as_images(folder)) - named)
    ]
