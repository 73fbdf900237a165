"""The layout of images whose labels come from a table, one row an image."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.classes import require_distinct
from pipeline.data.layout import Files, Layout
from pipeline.harness.errors import DataError
from pipeline.harness.showing import shown

MARKS = "|;, "
"""Characters between the labels of a list."""
MISSING = frozenset({"nan", "NaN", "<NA>"})
"""How pandas writes a missing value as text; 'NA' and 'None' may be names of classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An image with its label and split ('train', 'validation', 'test').

    where: its table and row, for messages.
    """

    image: Path
    label: str
    split: str
    where: str


def lay_out(rows: Sequence[Row], *, table: Path, root: Path, notes: Sequence[str]) -> Layout:
    """Return the images of each class and split, in the order of the rows.

    Args:
        rows: at least one.
        table: what the rows come from, for messages.
        root: folder that the names of images start from.
        notes: lines to print.

    Raises:
        DataError: an image has two labels or two splits, a label is no class, or a split lacks
            some class.
    """
    single = _once(rows)
    splits = {row.split for row in single}
    if "train" not in splits:
        raise DataError(f"{shown(table)}: no training images; only those of {' and '.join(splits)}")
    classes = _classes(single, table)
    for row in single:
        if row.label not in classes:
            raise DataError(f"{row.where}: no training image has the label {row.label!r}")
    files = {split: _files(single, split, classes) for split in splits}
    for split, found in files.items():
        for name, paths in zip(classes, found, strict=True):
            if not paths:
                raise DataError(f"{shown(table)}: no {split} image has the label {name!r}")
    repeated = len(rows) - len(single)
    again = (f"{shown(table)}: {repeated} rows repeat others",) if repeated else ()
    return Layout(
        classes=classes,
        train=files["train"],
        validation=files.get("validation"),
        test=files.get("test"),
        notes=(*again, *notes),
        root=root,
    )


def _once(rows: Sequence[Row]) -> list[Row]:
    """Return one row of each image; raise DataError if two do not say the same."""
    first: dict[Path, Row] = {}
    for row in rows:
        other = first.setdefault(row.image, row)
        if other.label != row.label:
            raise DataError(
                f"{row.where}: the label {row.label!r} of an image that has the label"
                f" {other.label!r} in {other.where}; remove one"
            )
        if other.split != row.split:
            raise DataError(
                f"{row.where}: a {row.split} image that is a {other.split} image in"
                f" {other.where}; remove one"
            )
    return list(first.values())


def _classes(rows: Sequence[Row], table: Path) -> tuple[str, ...]:
    """Return the labels of the training images, sorted."""
    counts = Counter(row.label for row in rows if row.split == "train")
    _require_labels(rows)
    _require_single_labels(rows)
    _require_distinct_numbers([row.label for row in rows], table)
    require_distinct(table, dict.fromkeys(row.label for row in rows), "label")
    if len(counts) == 1:
        (name,) = counts
        raise DataError(
            f"{shown(table)}: only one label, {name!r}; a classifier needs at least two"
        )
    if len(counts) > 2 and max(counts.values()) == 1:
        raise DataError(
            f"{shown(table)}: every image has a label of its own, such as {next(iter(counts))!r};"
            " expected labels that are the classes of the images"
        )
    return tuple(sorted(counts))


def _require_labels(rows: Sequence[Row]) -> None:
    for row in rows:
        if row.label in MISSING:
            raise DataError(
                f"{row.where}: {row.label!r} is how pandas writes a missing label; add the label,"
                " or remove the row and the image"
            )


def _require_distinct_numbers(labels: Iterable[str], table: Path) -> None:
    """Raise DataError if two labels are one whole number, as '1' and '1.0' are."""
    seen: dict[float, str] = {}
    for label in labels:
        if re.fullmatch(r"[+-]?\d+(\.0*)?", label):
            twin = seen.setdefault(float(label), label)
            if twin != label:
                raise DataError(
                    f"{shown(table)}: the labels {twin!r} and {label!r} are the same number;"
                    " write it in one way"
                )


def _require_single_labels(rows: Sequence[Row]) -> None:
    """Raise DataError if a label is a list whose pieces are found in other labels too."""
    labels = {row.label for row in rows}
    for mark in MARKS:
        pieces = Counter(piece for label in labels for piece in _pieces(label, mark))
        for row in rows:
            own = _pieces(row.label, mark)
            # 'fire truck' is a list only where both 'fire' and 'truck' are labels.
            is_list = own <= labels if mark == " " else any(pieces[piece] > 1 for piece in own)
            if len(own) > 1 and is_list:
                raise DataError(
                    f"{row.where}: {row.label!r} is a list of labels, but an image has one class;"
                    f" keep one label an image, or write names without {mark!r}"
                )


def _pieces(label: str, mark: str) -> set[str]:
    return {piece.strip() for piece in label.split(mark)}


def _files(rows: Sequence[Row], split: str, classes: Sequence[str]) -> Files:
    found: dict[str, list[Path]] = {name: [] for name in classes}
    for row in rows:
        if row.split == split:
            found[row.label].append(row.image)
    return tuple(tuple(paths) for paths in found.values())
