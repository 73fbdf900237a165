"""Metrics and histories: what DVC compares and plots.

Only what the params, the data and the code decide: the same run writes the same bytes. Seconds and
memory differ from run to run, so they go to `.aso-se/progress/`, which nothing depends on.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.harness.files import write_atomically
from pipeline.harness.metrics import COLUMNS

Row = dict[str, float | int | str]
"""What is known at the end of an epoch: column -> value."""


def write_json(path: Path, document: Mapping[str, object]) -> None:
    """Write a document as indented JSON."""
    write_atomically(
        path, (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
    )


def write_history(path: Path, rows: Sequence[Row]) -> None:
    """Write one line per row, tab-separated under the names of the columns.

    A column that a row lacks stays empty.
    """
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [
        "\t".join(columns),
        *("\t".join(_cell(row.get(column, "")) for column in columns) for row in rows),
    ]
    write_atomically(path, ("\n".join(lines) + "\n").encode())


def kept(row: Row) -> Row:
    """Return what of the last row of a history becomes the metrics of its stage."""
    names = [column.name for column in COLUMNS if column.kept]
    return {name: row[name] for name in names if name in row}


def _cell(value: float | str) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
