"""A run that was killed after any epoch resumes and gives the same bytes."""

import errno
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.alternating import agreement
from pipeline.harness.errors import CheckpointError
from pipeline.harness.lacks import ending, lack
from pipeline.harness.records import Row
from pipeline.harness.section import Section, Seed
from pipeline.space.checkpoint import encode
from pipeline.training import resume
from pipeline.training.loop import Phase, run
from pipeline.training.resume import KEPT_RUNS, Points, resume_points
from tests.phases import PHASES, train


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judge an operation after so few comparisons that a tiny search stops some."""
    monkeypatch.setattr(agreement, "COMPARISONS", 2)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in a folder of its own: a phase writes its progress beside it."""
    monkeypatch.chdir(tmp_path)


def newest(folder: Path) -> bytes:
    return max(folder.glob("*.safetensors")).read_bytes()


def require_resumable(
    phase: Phase[Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Any, list[Row]]:
    """Run a phase, then resume it at each of its points, as after a kill; return its result."""
    monkeypatch.setattr(resume, "KEPT_POINTS", 99)
    whole = Points("phase", folder / "whole")
    state, expected = run(phase, whole)
    written = sorted(whole.folder.iterdir())
    assert len(written) == len(expected)
    assert len(expected) == phase.epochs or phase.expected.patience
    for path in written if phase.expected.patience else written[:-1]:
        points = Points("phase", folder / path.stem)
        points.folder.mkdir()
        shutil.copy(path, points.folder)
        assert run(phase, points)[1] == expected
        assert newest(points.folder) == newest(whole.folder)
    return state, expected


@pytest.mark.parametrize("name", PHASES)
def test_a_run_broken_off_after_any_epoch_goes_on_to_the_same_bytes(
    name: str, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_resumable(PHASES[name](checkpoint), tmp_path, monkeypatch)


@pytest.mark.parametrize("name", ["warmup", "search", "growth that is accepted", "optimize"])
def test_so_it_does_where_the_learning_rate_waits_for_the_loss(
    name: str, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phase: Any = PHASES[name](checkpoint)
    params = phase.params.model_copy(update={"schedule": "plateau", "epochs": 6})
    monkeypatch.setattr("pipeline.training.schedules.PLATEAU_FALL", 0.5)  # soon none falls so much
    _, rows = require_resumable(replace(phase, params=params), tmp_path, monkeypatch)
    assert len({row["learning_rate"] for row in rows}) > 1


@pytest.mark.parametrize("verdict", ["accepted", "rolled back"])
def test_the_growths_above_are_what_they_are_called(verdict: str, checkpoint: Path) -> None:
    phase = PHASES[f"growth that is {verdict}"](checkpoint)
    state = phase.begin()
    train(phase, state)
    assert verdict in [event.verdict for event in state.events]


def test_the_search_above_stops_operations(checkpoint: Path) -> None:
    phase = PHASES["search that stops operations"](checkpoint)
    state = phase.begin()
    train(phase, state)
    assert 0 < int(state.agreement.stopped.sum()) < len(state.agreement.stopped)


def test_the_optimization_above_ends_early_and_keeps_an_earlier_epoch(
    checkpoint: Path, tmp_path: Path
) -> None:
    phase: Any = PHASES["optimize with patience"](checkpoint)
    state, rows = run(phase, Points("optimize", tmp_path))
    accuracies = [row["validation_accuracy"] for row in rows]
    assert len(rows) == accuracies.index(max(accuracies)) + 1 + 2 < phase.epochs
    row = phase.delivered_row(rows)
    assert row == rows[-3]
    assert phase.watch(state.delivered) == (row["validation_loss"], row["validation_accuracy"])
    assert phase.watch(state.result) == (rows[-1]["validation_loss"], accuracies[-1])


def test_a_point_of_another_run_is_passed_over_with_a_line(
    points: Points, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Points("search", points.folder, "another")
    assert other.newest() == (None, [])
    line = f"{points.folder}/00003.safetensors: of a run with other params, inputs or code: skipped"
    assert capsys.readouterr().out.splitlines()[0] == line
    assert replace(points, stage="growth").newest() == (None, [])
    assert points.of("finalists").run != points.run


@pytest.fixture
def points(tmp_path: Path) -> Points:
    """Return the points of three epochs whose state is a number and a tensor."""
    made = Points("search", tmp_path / "points")
    rows: list[Row] = [{"epoch": epoch, "loss": 1 / epoch} for epoch in (1, 2, 3)]
    numbers = iter((1, 2, 3))
    list(made.after_each(iter(rows), [], lambda: {"a": {"b": [torch.ones(2), next(numbers)]}}))
    return made


def test_two_points_are_kept_and_the_newest_is_taken(points: Points) -> None:
    assert [path.stem for path in sorted(points.folder.iterdir())] == ["00002", "00003"]
    saved, rows = points.newest()
    assert saved
    assert saved["a"]["b"][1] == 3
    assert torch.equal(saved["a"]["b"][0], torch.ones(2))
    assert rows == [{"epoch": epoch, "loss": 1 / epoch} for epoch in (1, 2, 3)]


def test_a_damaged_point_is_passed_over_with_a_line(
    points: Points, capsys: pytest.CaptureFixture[str]
) -> None:
    path = points.folder / "00003.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    saved, rows = points.newest()
    assert saved
    assert (saved["a"]["b"][1], len(rows)) == (2, 2)
    assert "00003.safetensors: damaged" in capsys.readouterr().out
    (points.folder / "00002.safetensors").write_bytes(b"")
    assert points.newest() == (None, [])


def test_a_point_that_the_machine_cannot_read_now_is_not_passed_over(
    points: Points, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    with monkeypatch.context() as lacking:
        lacking.setattr("pathlib.Path.read_bytes", refuse)
        with pytest.raises(CheckpointError, match="Too many open files") as raised:
            points.newest()
    assert ending(raised.value) == (lack(raised.value), 4)
    assert len(points.newest()[1]) == 3


def test_another_number_of_threads_is_said(
    points: Points, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    points.newest()
    assert capsys.readouterr().out == ""
    monkeypatch.setattr("torch.get_num_threads", lambda: 7)
    points.newest()
    assert "this run began on torch" in capsys.readouterr().out


class Params(Section):
    seed: Seed
    other: int = 0


def test_points_of_other_params_or_inputs_are_never_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASO_SE_RESUME", str(tmp_path / "resume"))
    data = tmp_path / "prepare"
    data.mkdir()
    (data / "train").write_text("images")
    first = resume_points("search", Params(seed=1), data).folder
    assert first.parent == tmp_path / "resume"
    assert resume_points("search", Params(seed=1), data).folder == first
    assert resume_points("search", Params(seed=2), data).folder != first
    assert resume_points("warmup", Params(seed=1), data).folder != first
    (data / "train").write_text("others")
    assert resume_points("search", Params(seed=1), data).folder != first


def test_forgotten_runs_do_not_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASO_SE_RESUME", str(tmp_path))
    for seed in range(KEPT_RUNS + 3):
        resume_points("search", Params(seed=seed)).folder.mkdir()
    resume_points("search", Params(seed=99)).folder.mkdir()
    assert len(list(tmp_path.iterdir())) == KEPT_RUNS


def test_points_lie_with_the_project_wherever_dvc_runs_a_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("ASO_SE_RESUME", raising=False)
    folder = resume_points("search", Params(seed=1)).folder
    assert folder.parent == tmp_path / ".aso-se" / "resume"


def test_points_are_removed_when_the_stage_has_succeeded(points: Points) -> None:
    points.remove()
    assert not points.folder.exists()


def test_a_whole_file_that_is_no_point_is_passed_over(
    points: Points, capsys: pytest.CaptureFixture[str]
) -> None:
    path = points.folder / "00009.safetensors"
    path.write_bytes(encode({}, {"facts": {}}))
    _, rows = points.newest()
    assert len(rows) == 3
    assert capsys.readouterr().out.startswith(f"{path}: not a resume point: skipped")
