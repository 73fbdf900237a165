"""The histories of the phases, each a row an epoch, or one line that says what no phase wrote."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import isfinite
from pathlib import Path

from pipeline.harness.errors import ReportError, reason
from pipeline.harness.metrics import COLUMNS
from pipeline.harness.records import Row
from pipeline.reporting.files import AGAIN, read_table

WORDS = {column.name for column in COLUMNS if column.is_word}
FRACTIONS = re.compile(r"share_.*|.*_(accuracy|fraction)|max_weight|path_diversity|health")
"""Names of the columns whose values are at most 1."""
SHARE = "share_"
"""How the names of the columns begin that hold the mean weight of an operation."""


def read_history(path: Path, columns: Sequence[str]) -> list[Row]:
    """Return the rows of a history. columns: those that it must have.

    Raises:
        ReportError: the file is missing, damaged, or no history of epochs.
    """
    try:
        rows = [_row(line) for line in read_table(path)]
        lacking = [name for name in columns if any(name not in row for row in rows)]
        _require_epochs(row["epoch"] for row in rows)
    except (KeyError, TypeError, ValueError) as error:
        raise ReportError(f"{path}: not a history of epochs: {reason(error)}; {AGAIN}") from None
    if not rows or lacking:
        raise ReportError(f"{path}: this history has no {[*lacking, 'rows'][0]}; {AGAIN}")
    return rows


def _row(line: Mapping[str, str]) -> Row:
    if None in (*line, *line.values()):  # so csv fills a row that is too long or too short
        raise ValueError("a row has other columns than the header")
    row: Row = {"verdict": line["verdict"]}
    for name, text in line.items():
        if name in WORDS and not text.isprintable():
            raise ValueError(f"{name} is {text!r}")
        if text:
            row[name] = text if name in WORDS else _number(name, text)
    return row


def _number(name: str, text: str) -> float:
    value = float(text)
    highest = 1.0 if FRACTIONS.fullmatch(name) else float("inf")
    if not isfinite(value) or not 0 <= value <= highest:
        raise ValueError(f"{name} is {text!r}")
    return value


def _require_epochs(numbers: Iterable[float | str]) -> None:
    found = list(map(float, numbers))
    if any(later != earlier + 1 for earlier, later in pairwise(found)):
        raise ValueError("the epochs do not follow each other")
