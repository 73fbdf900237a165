"""TensorBoard's event files, read back as TensorBoard reads them."""

import struct
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event

from pipeline.console.progress import watch
from pipeline.console.tensorboard import FOLDER
from pipeline.harness.errors import ExitCode, RunError
from pipeline.harness.records import Row

ROWS: list[Row] = [
    {"epoch": epoch, "train_loss": 1 / epoch, "verdict": "healthy"} for epoch in (13, 14, 15)
]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the environment names; the current folder is a tree beside it."""
    (tmp_path / "tree").mkdir()
    monkeypatch.chdir(tmp_path / "tree")
    monkeypatch.setenv(FOLDER, str(tmp_path / "runs"))
    return tmp_path / "runs"


def events(path: Path) -> list[Event]:
    """Read the records of a file: eight bytes of length, four of a checksum, the event, four."""
    content, found = path.read_bytes(), []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        found.append(Event.FromString(content[12 : 12 + length]))
        content = content[16 + length :]
    return found


def followed(rows: list[Row], before: list[Row]) -> None:
    watch(iter(rows), before=before, name="search", epochs=3, images=10)


def test_the_numbers_of_each_epoch_are_in_a_file_of_the_stage(runs: Path) -> None:
    followed(ROWS, [])
    (path,) = (runs / "tree/search").iterdir()
    written = {
        (event.step, value.tag): value.simple_value
        for event in events(path)
        for value in event.summary.value
    }
    for row in ROWS:
        assert written[int(row["epoch"]), "train_loss"] == pytest.approx(row["train_loss"])
        assert written[int(row["epoch"]), "seconds"] >= 0
    assert {tag for _, tag in written}.isdisjoint({"verdict", "epoch"})


def test_a_run_that_goes_on_takes_back_what_a_killed_one_wrote_of_its_epochs(runs: Path) -> None:
    followed(ROWS[:2], [])
    followed(ROWS[1:], ROWS[:1])
    started = [
        event.step
        for path in (runs / "tree/search").iterdir()
        for event in events(path)
        if event.HasField("session_log")
    ]
    assert 14 in started


def test_without_the_variable_nothing_is_imported_or_written(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(FOLDER)
    followed(ROWS, [])
    assert not runs.exists()
    program = "import sys, stages.search; sys.exit('tensorboardX' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_where_it_cannot_be_written_the_line_names_folder_or_variable(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.write_text("a file")
    with pytest.raises(OSError, match="Not a directory") as raised:
        followed(ROWS, [])
    assert raised.value.filename == str(runs / "tree/search")
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    monkeypatch.setitem(sys.modules, "tensorboardX.event_file_writer", None)
    with pytest.raises(RunError, match=rf"^{FOLDER}: tensorboardX is not installed; "):
        followed(ROWS, [])


def test_a_full_disk_is_one_error_that_names_the_folder(runs: Path) -> None:
    program = (
        "import resource, signal\n"
        "from pipeline.console.ending import InOneLine\n"
        "from pipeline.console.tensorboard import events\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "with InOneLine(), events('search') as write:\n"
        "    for epoch in range(1, 100):\n"
        "        write({'epoch': epoch} | {f'column {number}': 1.0 for number in range(40)})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.stderr == f"{runs}/tree/search: File too large\n"
    assert done.returncode == ExitCode.USER
