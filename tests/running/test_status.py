"""`aso-se status`: where each stage stands, what changed since, what to type next."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.harness.errors import RunError
from pipeline.harness.places import LOCK
from pipeline.harness.section import Section
from pipeline.locking.lock import hold
from pipeline.running.graph import Stage
from pipeline.running.status import epochs_done, report, stand
from pipeline.training.resume import resume_points
from tests.toy import STAGES, Toy

pytestmark = pytest.mark.xdist_group("toy")
ROOT = Path(__file__).resolve().parents[2]


def shown(capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, str], list[str]]:
    """Return what the report says of each stage, and the lines below its table."""
    assert report(Path.cwd()) == 0
    lines = capsys.readouterr().out.splitlines()
    table = lines[: len(STAGES)]
    return {line.split()[0]: line.partition(" ")[2].strip() for line in table}, lines[len(STAGES) :]


def test_all_is_up_to_date_after_a_run_and_the_next_command_is_to_predict(
    toy: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    stages, below = shown(capsys)
    assert list(stages) == STAGES
    assert all(state.startswith("up to date ") for state in stages.values())
    assert "validation accuracy 100.0%" in stages["search"]
    assert "minutes ago" in stages["search"]
    assert below == ["", "next: aso-se predict artifacts/export/model.onnx IMAGE..."]


def test_an_edited_param_is_named_with_both_values_and_what_follows_it_says_so(
    toy: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.edit("arch_update_freq: 5", "arch_update_freq: 7")
    code = toy.folder / "toy_stage.py"
    code.write_text(code.read_text() + "# edited\n")
    stages, below = shown(capsys)
    assert stages["prepare"].startswith("changed ")
    assert stages["warmup"].startswith("follows prepare ")
    assert stages["search"].startswith("changed ")
    assert stages["export"].startswith("follows search ")
    assert "search   search.arch_update_freq: 7, was 5" in below
    assert "prepare  toy_stage.py: modified" in below
    assert below[-1] == "next: aso-se run"


def test_params_that_are_not_valid_want_a_check_first(
    toy: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.edit("arch_update_freq: 5", "arch_update_freq: many")
    _, below = shown(capsys)
    assert below[-1] == "next: aso-se check"


def test_a_stage_that_never_ran_has_no_result(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    (toy.folder / "dvc.lock").unlink()
    stages, below = shown(capsys)
    assert set(stages.values()) == {"never run"}
    assert below == ["", "next: aso-se run"]


def test_a_fresh_clone_says_that_the_results_are_elsewhere(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.run("git", "clone", "--quiet", str(toy.folder), str(tmp_path / "clone"))
    monkeypatch.chdir(tmp_path / "clone")
    stages, below = shown(capsys)
    assert all(state == "not in this clone" for state in stages.values())
    assert below == ["", "next: aso-se run"]
    code = tmp_path / "clone" / "toy_stage.py"
    code.write_text(code.read_text() + "# edited\n")  # Git has the metrics, nothing has run here
    stages, _ = shown(capsys)
    assert stages["prepare"] == "changed"
    assert stages["search"] == "follows warmup"


def test_an_interrupted_stage_says_after_which_epoch(
    toy: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.edit("arch_update_freq: 5", "arch_update_freq: 7")
    point = toy.folder / ".aso-se/resume/search-0123456789abcdef/00001.safetensors"
    point.parent.mkdir(parents=True)
    point.touch()
    stages, _ = shown(capsys)
    assert stages["search"].startswith("interrupted after epoch 1 of 2 ")


def test_resume_points_are_found_where_stages_leave_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert epochs_done(tmp_path) == {}
    for folder in (None, tmp_path / "elsewhere"):
        if folder:
            monkeypatch.setenv("ASO_SE_RESUME", str(folder))
        points = resume_points("search", Section())
        for _ in points.after_each(iter([{"epoch": 1}, {"epoch": 2}]), [], dict):
            pass
        assert epochs_done(tmp_path) == {"search": 2}


def test_a_resume_point_that_vanishes_meanwhile_is_passed_over(toy: Toy) -> None:
    folder = toy.folder / ".aso-se/resume/search-0123456789abcdef"
    folder.mkdir(parents=True)
    (folder / "00001.safetensors").touch()
    (folder / "00002.safetensors").symlink_to("deleted")  # listed, but there is no such file
    assert epochs_done(toy.folder) == {"search": 1}


def test_a_run_at_work_is_named_and_how_far_it_is(
    toy: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    with hold(toy.folder / LOCK, "aso-se run (pid 1)", waiting=lambda _: None):
        assert report(toy.folder) == 0
    assert capsys.readouterr().out.splitlines() == [
        "running: aso-se run (pid 1)",
        "the last epoch that ended is number 2 of search",
    ]


def test_a_folder_that_is_no_clone_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such file; run this in a clone of the project"):
        report(tmp_path)


def test_without_dvc_it_says_so_in_one_line(toy: Toy) -> None:
    """As on a GPU machine: DVC and psutil cannot be imported."""
    hidden = "import sys; sys.modules['psutil'] = None\n"
    hidden += "import importlib.util as u; real = u.find_spec\n"
    hidden += "u.find_spec = lambda name, *a: None if name == 'dvc' else real(name, *a)\n"
    hidden += "from pipeline.__main__ import main; sys.argv = ['aso-se', 'status']; main()"
    done = subprocess.run(
        [sys.executable, "-c", hidden],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    line = "dvc: not installed, so changes are unknown; run 'make install'\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", line)


GRAPH = [
    Stage(name=name, description="", params=frozenset(), after=frozenset(after))
    for name, after in (("check", ()), ("search", ("check",)), ("growth", ("check", "search")))
]
RECORDED: dict[str, dict[str, Any]] = {stage.name: {} for stage in GRAPH}


def states(changes: dict[str, list[Any]]) -> list[str]:
    return [one.state for one in stand(GRAPH, RECORDED, changes, {}, {})]


def test_nothing_follows_a_check_for_its_result_is_always_the_same() -> None:
    edited = {"check": [{"changed deps": {"params.yaml": "modified"}}]}
    assert states(edited) == ["changed", "up to date", "up to date"]


def test_an_output_that_is_missing_is_no_change_of_what_reads_it() -> None:
    missing: dict[str, list[Any]] = {
        "search": [{"changed outs": {"a": "deleted"}}],
        "growth": [{"changed deps": {"a": "deleted"}}],
    }
    assert states(missing) == ["up to date", "not in this clone", "not in this clone"]


def test_an_edited_output_and_an_edited_command_are_changes() -> None:
    edited: dict[str, list[Any]] = {
        "search": [{"changed outs": {"a": "modified"}}, "changed command"],
    }
    found = stand(GRAPH, RECORDED, edited, {}, {})[1]
    assert found.changes == ("a: modified", "changed command")
