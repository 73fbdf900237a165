"""Files that a stage wrote for people and that the report reads, or one line that says why not."""

import csv
import json
from io import StringIO
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipeline.harness.errors import ReportError, reason

AGAIN = "'dvc repro' writes it again"


def read_json(path: Path, kind: type[BaseModel]) -> dict[str, Any]:
    """Return a document of a kind; raise ReportError if it cannot be read or is none."""
    try:
        text = _read(path)
        kind.model_validate_json(text)
        document: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{path}: not as its stage wrote it: {reason(error)}; {AGAIN}") from None
    return document


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
