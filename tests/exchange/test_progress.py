"""What a person sees of an epoch: one line in a log."""

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.exchange.progress import describe, say, watch
from pipeline.exchange.records import Row

ROWS: list[Row] = [
    {"epoch": 1, "phase": "skip", "train_loss": 1.23456, "validation_accuracy": 0.5, "event": ""},
    {"epoch": 2, "phase": "explore", "train_loss": 1.0, "temperature": 0.5, "event": "widen"},
]


def test_every_epoch_is_one_line_in_a_log_and_its_row_is_returned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = watch(iter(ROWS), name="warmup", epochs=2, images=100)
    assert rows == ROWS
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("warmup 1/2: skip, loss 1.235, validation 50.0%, ")
    assert second.startswith("warmup 2/2: explore, loss 1.000, tau 0.50, widen, ")
    assert first.endswith(" images/s")


def test_seconds_and_memory_are_kept_apart_from_what_dvc_tracks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    watch(iter(ROWS), name="warmup", epochs=2, images=100)
    with (tmp_path / ".aso-se" / "progress" / "warmup.tsv").open() as file:
        rows = list(csv.DictReader(file, dialect="excel-tab"))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(float(row["images_per_second"]) > 0 for row in rows)
    assert all(int(row["peak_host_bytes"]) > 2**20 for row in rows)


def test_a_stage_that_fails_on_the_way_fails_with_its_own_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def rows() -> Iterator[Row]:
        yield ROWS[0]
        raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"):
        watch(rows(), name="warmup", epochs=2, images=100)


def test_only_known_columns_that_have_a_value_are_shown() -> None:
    assert describe({"epoch": 1, "seconds": 3, "event": "", "temperature": 0.0}) == "tau 0.00"


def test_brackets_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    say("[red]a[/red] " + "long " * 60)
    assert capsys.readouterr().out == "[red]a[/red] " + "long " * 60 + "\n"
