"""Metrics and histories: what DVC compares and plots.

They depend only on params, data and code: the same run writes the same bytes. Seconds and memory
differ from run to run, so they go to `.aso-se/progress/`, which nothing depends on.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.harness.files import write_atomically
from pipeline.harness.metrics import COLUMNS
from pipeline.harness.showing import cell

Row = dict[str, float | int | str]
"""Record of an epoch: column -> value."""


def write_json(path: Path, document: Mapping[str, object]) -> None:
    """Write a document as indented JSON."""
    write_atomically(
        path, (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
    )


def write_history(path: Path, rows: Sequence[Row]) -> None:
    """Write a header and one tab-separated line per row; a missing value stays empty."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [
        "\t".join(columns),
        *("\t".join(_cell(row.get(column, "")) for column in columns) for row in rows),
    ]
    write_atomically(path, ("\n".join(lines) + "\n").encode())


def kept(row: Row) -> Row:
    """Return the columns of a history's last row that become metrics of its stage."""
    names = [column.name for column in COLUMNS if column.kept]
    return {name: row[name] for name in names if name in row}


def _cell(value: float | str) -> str:
    return f"{value:.6g}" if isinstance(value, float) else cell(str(value))
