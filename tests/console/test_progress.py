"""What a person sees of an epoch: a bar on a terminal, one line in a log."""

import csv
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.console.progress import describe, say, time_left, watch
from pipeline.harness.records import Row

ROOT = Path(__file__).resolve().parents[2]
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
    assert all(float(row["cpu_seconds"]) >= 0 for row in rows)
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


PROGRAM = """
import time
from pipeline.console.progress import watch

def epochs():
    for epoch in range(1, 4):
        time.sleep(0.2)
        yield {"epoch": epoch, "train_loss": 1.0, "validation_accuracy": 0.25 * epoch,
               "temperature": 2.0 / epoch, "event": ""}

watch(epochs(), name="search", epochs=3, images=1000)
"""
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[[0-9;]*(3[0-79]|38;[0-9;]*|9[0-7])m")


def on_terminal(folder: Path, **environment: str) -> str:
    """Run three epochs on a terminal of 80 columns; return all that it was sent."""
    master, slave = pty.openpty()
    inherited = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=folder,
        env={**inherited, "PYTHONPATH": str(ROOT), "COLUMNS": "80", "TERM": "xterm", **environment},
        stdin=slave,
        stdout=slave,
        stderr=slave,
    ) as process:
        os.close(slave)
        sent = b""
        with suppress(OSError):  # how Linux reports that the other end is closed
            while chunk := os.read(master, 4096):
                sent += chunk
    os.close(master)
    assert process.returncode == 0, sent
    return sent.decode()


def in_log(folder: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not done.stderr
    return done.stdout


def test_a_terminal_shows_a_bar_with_epoch_accuracy_temperature_speed_and_time_left(
    tmp_path: Path,
) -> None:
    sent = on_terminal(tmp_path)
    assert COLOUR.search(sent)
    drawn = [line.rstrip() for line in re.split(r"[\r\n]+", ESCAPE.sub("", sent))]
    last = next(line for line in reversed(drawn) if line)
    form = r"search epoch 3/3 ━+ 0:00:00 validation 75\.0%, tau 0\.67, \d+ images/s"
    assert re.fullmatch(form, last)
    assert len(last) <= 80
    left = r"search epoch 2/3 [━╸╺]+ 0:00:0\d validation 50\.0%, tau 1\.00, \d+ images/s"
    assert any(re.fullmatch(left, line) for line in drawn)


def test_no_color_is_obeyed(tmp_path: Path) -> None:
    sent = on_terminal(tmp_path, NO_COLOR="1")
    assert "validation 75.0%" in sent
    assert not COLOUR.search(sent)


def test_a_terminal_that_cannot_redraw_gets_a_line_per_epoch(tmp_path: Path) -> None:
    lines = on_terminal(tmp_path, TERM="dumb").splitlines()
    assert [line.split(":")[0] for line in lines] == ["search 1/3", "search 2/3", "search 3/3"]


def test_a_log_has_a_line_per_epoch_and_no_escapes_even_if_colours_are_forced(
    tmp_path: Path,
) -> None:
    for environment in ({}, {"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1"}):
        text = in_log(tmp_path, **environment)
        assert "\x1b" not in text
        assert [line.split(":")[0] for line in text.splitlines()] == [
            "search 1/3",
            "search 2/3",
            "search 3/3",
        ]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, ""), (29, ""), (31, ", 1 min left"), (600, ", 10 min left"), (9000, ", 2.5 h left")],
)
def test_a_line_says_how_long_the_rest_takes_unless_it_takes_less_than_a_minute(
    seconds: float, shown: str
) -> None:
    assert time_left(seconds) == shown
