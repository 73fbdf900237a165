"""A csv or tsv file as rows of text, and which of its columns say what."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from pipeline.data.columns import (
    image_column,
    is_named_label,
    label_column,
    other_columns,
    split_column,
)
from pipeline.data.kinds import IMAGE_SUFFIXES, suffix
from pipeline.data.listing import Folder, composed, of_kind, walk
from pipeline.data.params import TABLES
from pipeline.data.split_folders import split_around, split_in
from pipeline.harness.errors import DataError
from pipeline.harness.showing import shown

ENCODING = "utf-8-sig"  # with or without the mark that Windows puts first
DELIMITERS = ",;\t"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A file that names images. header: names of columns. image, ...: indices of columns.

    own_split: the split that its name, or that of a folder around it, says.
    """

    path: Path
    header: tuple[str, ...]
    delimiter: str
    image: int
    own_split: str | None

    def rows(self) -> Iterator[tuple[str, list[str]]]:
        """Yield where each row stands, for messages, and its cells without outer spaces.

        Raises:
            DataError: the file cannot be read, or a row has not as many cells as the header.
        """
        try:
            with _open(self.path) as file:
                reader = csv.reader(file, delimiter=self.delimiter, strict=True)
                for number, cells in enumerate(reader, 1):
                    where = f"{shown(self.path)}, row {number}"
                    if number == 1 or not any(cells):
                        continue
                    if len(cells) != len(self.header):
                        raise DataError(
                            f"{where}: {len(cells)} cells, but the header has {len(self.header)}"
                        )
                    yield where, [composed(cell.strip()) for cell in cells]
        except UnicodeDecodeError:
            raise DataError(f"{shown(self.path)}: not in UTF-8; save it as UTF-8") from None
        except (OSError, csv.Error) as error:
            raise DataError(f"{shown(self.path)}: not a readable table ({error})") from None

    @property
    def is_submission(self) -> bool:
        """Whether it shows how answers are to be handed in (Kaggle): its labels are invented."""
        return "submission" in self.path.stem.casefold()

    @property
    def has_named_label(self) -> bool:
        """Whether a column has the name of a label."""
        return is_named_label(self.header)

    @property
    def split(self) -> int | None:
        """Index of the column that says the split, or None."""
        return split_column(self.header)

    def label(self) -> int | None:
        """Return the index of the column with the labels, or None if there is none.

        Raises:
            DataError: several columns may be it.
        """
        others = other_columns(self.header)
        if not self.has_named_label and len(others) > 1 and self._holds_marks(others):
            raise DataError(
                f"{shown(self.path)}: {len(others)} columns of 0 and 1, so that an image may have"
                " several labels; write the class of each image into one column, label"
            )
        return label_column(self.header, shown(self.path))

    def _holds_marks(self, columns: Sequence[int]) -> bool:
        return all(
            cells[index] in {"0", "1", "0.0", "1.0"}
            for _, cells in self.rows()
            for index in columns
        )


def read_tables(tree: Folder) -> list[Table]:
    """Return the tables anywhere in a folder that have a column which names images.

    Raises:
        DataError: a table has no header, or several columns may name the images.
    """
    paths = [path for folder in walk(tree) for path in of_kind(folder, TABLES)]
    return [table for path in paths if (table := read_table(path, tree.path))]


def read_table(path: Path, root: Path) -> Table | None:
    """Return a table that lies in `root`, or None if no column names images.

    Raises:
        DataError: it has no header, or several columns may name the images.
    """
    try:
        with _open(path, errors="replace") as file:
            first = file.readline()
    except OSError as error:
        raise DataError(f"{shown(path)}: cannot be read: {error.strerror}") from None
    delimiter = max(DELIMITERS, key=first.count)
    header = next(csv.reader([first], delimiter=delimiter), [])
    for cell in header:
        if suffix(cell) in IMAGE_SUFFIXES:
            raise DataError(
                f"{shown(path)}, row 1: {shown(cell)}, but expected the names of the columns;"
                " add a first row such as file_name,label"
            )
    image = image_column(header, shown(path))
    if image is None:
        return None
    own = split_in(path.stem) or split_around(path.relative_to(root))
    return Table(path=path, header=tuple(header), delimiter=delimiter, image=image, own_split=own)


def _open(path: Path, errors: str = "strict") -> TextIO:
    return path.open(encoding=ENCODING, errors=errors, newline="")
