"""How long the training of a run took, from the tables in which stages note it.

No result depends on a time, so no artifact has one. A run is found again by its histories.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.harness.places import PROGRESS

Noted = Sequence[Mapping[str, str]]
"""A table with a row for each epoch: column -> value."""


def read_tables(tree: Path) -> dict[str, list[Noted]]:
    """Return the tables of each stage, of this tree and of its experiments."""
    found: dict[str, list[Noted]] = {}
    for path in sorted((tree / PROGRESS).rglob("*.tsv")):
        found.setdefault(path.stem, []).append(_rows(path.read_text(encoding="utf-8")))
    return found


def seconds_of(histories: Mapping[str, str], tables: Mapping[str, Sequence[Noted]]) -> float | None:
    """Return the seconds of all epochs of a run, or None if this clone has not trained all.

    Args:
        histories: text of `history.tsv` of each stage that trains.
        tables: what `read_tables` returns.
    """
    seconds = []
    for stage, text in histories.items():
        history = _rows(text)
        table = next((one for one in tables.get(stage, ()) if _is_of(one, history)), None)
        if table is None:
            return None
        seconds += [float(row["seconds"]) for row in table]
    return sum(seconds) if seconds else None


def _is_of(table: Noted, history: Noted) -> bool:
    """Whether a table is of a history, and has all times: those before an interruption are lost."""
    return len(table) == len(history) and all(
        noted.get("seconds") and row.items() <= noted.items()
        for noted, row in zip(table, history, strict=True)
    )


def _rows(text: str) -> Noted:
    return list(csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))
