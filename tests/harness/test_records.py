"""Metrics and histories: readable, and the same bytes for the same numbers."""

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.harness.records import Row, write_history, write_json

NAMES = st.text("abc_", min_size=1, max_size=4)
CELLS = (
    st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text("xyz", max_size=3)
)
ROWS = st.lists(st.dictionaries(NAMES, CELLS, max_size=4), min_size=1, max_size=5).filter(any)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, dialect="excel-tab"))


def test_a_column_that_a_row_lacks_stays_empty(tmp_path: Path) -> None:
    path = tmp_path / "history.tsv"
    write_history(path, [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "event": "widen"}])
    assert path.read_text() == "epoch\tloss\tevent\n1\t0.5\t\n2\t\twiden\n"


@given(rows=ROWS)
def test_a_history_is_read_back_whatever_columns_its_rows_have(
    rows: list[Row], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("history") / "history.tsv"
    write_history(path, rows)
    lines = path.read_text().splitlines()
    columns = lines[0].split("\t")
    assert set(columns) == {column for row in rows for column in row}
    assert len(lines) == len(rows) + 1
    for line, row in zip(lines[1:], rows, strict=True):
        found = dict(zip(columns, line.split("\t"), strict=True))
        for column in columns:
            value = row.get(column, "")
            if isinstance(value, float):
                assert abs(float(found[column]) - value) <= 1e-5 * abs(value)
            else:
                assert found[column] == str(value)


def test_an_accuracy_keeps_six_digits(tmp_path: Path) -> None:
    path = tmp_path / "history.tsv"
    write_history(path, [{"accuracy": 0.12345678, "epoch": 1}])
    assert read(path) == [{"accuracy": "0.123457", "epoch": "1"}]


def test_json_is_indented_and_keeps_letters_and_the_order_of_keys(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_json(path, {"zebra": "Größe", "accuracy": 0.5})
    assert path.read_text(encoding="utf-8") == '{\n  "zebra": "Größe",\n  "accuracy": 0.5\n}\n'
    assert json.loads(path.read_text(encoding="utf-8")) == {"zebra": "Größe", "accuracy": 0.5}
