"""Files that a stage wrote for people and that the report reads, or one line that says why not."""

import csv
import json
from io import StringIO
from pathlib import Path
from typing import Any

from pipeline.harness.errors import ReportError

AGAIN = "'dvc repro' writes it again"


def read_json(path: Path, *names: str) -> dict[str, Any]:
    """Return a document that has these names; raise ReportError if it cannot be read."""
    try:
        document = json.loads(_read(path))
        return {**document, **{name: document[name] for name in names}}
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ReportError(f"{path}: not as its stage wrote it: {error!r}; {AGAIN}") from None


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a history or of another table with tabs, which quotes nothing."""
    lines = _read(path).split("\n")  # splitlines would also split at characters in class names
    return list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


def read_csv(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table with commas, which may quote anything."""
    return list(csv.DictReader(StringIO(_read(path), newline="")))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ReportError(f"{path}: cannot be read: {error.strerror}; {AGAIN}") from None
    except UnicodeDecodeError:
        raise ReportError(f"{path}: cannot be read: not UTF-8; {AGAIN}") from None
