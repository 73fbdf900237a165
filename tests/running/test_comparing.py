"""Nothing is recorded but what a stage wrote, even if another command puts older files back."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.running.recorded import read_outputs, read_stages
from pipeline.running.verifying import verify
from tests.conftest import entered
from tests.running.test_front import ROOT, aso_se
from tests.toy import Toy
from tests.writers import add_writers, put_back, ran

pytestmark = pytest.mark.xdist_group("toy")


@pytest.fixture(scope="module")
def reproduced(reproduced_toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """A project with the two stages, committed; both have run."""
    made = reproduced_toy.copy(tmp_path_factory.mktemp("writers") / "project")
    add_writers(made)
    environment = {**made.environment(), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "dvc", "repro", "--quiet"]
    subprocess.run(command, cwd=made.folder, env=environment, check=True)
    assert ran(made) == ["one", "two"]
    made.commit("two stages")
    return made


@pytest.fixture
def two(reproduced: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A copy of that project, which is also the current directory."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return entered(reproduced, tmp_path / "project", monkeypatch)


def dvc(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def require_right(toy: Toy, seed: int) -> None:
    """Check that what is recorded is what the two stages compute."""
    assert Path("artifacts/two/result").read_text() == f"seed {seed} one two"
    assert verify(toy.folder)[1] == []
    assert read_outputs(toy.folder).keys() >= {"artifacts/one/result", "artifacts/two/result"}


@pytest.mark.parametrize("name", ["result", "folder/of/old", "metrics.json"])
def test_an_older_output_that_is_put_back_is_not_recorded(name: str, two: Toy) -> None:
    two.edit("seed: 42", "seed: 43")
    put_back(two, one={f"artifacts/one/{name}": "old"})
    code, output = aso_se("run", "one")
    assert code == 1
    path = f"artifacts/one/{name.partition('/')[0]}"
    assert f"\n{path}: another command replaced it before DVC recorded one, whose" in output
    assert "one" not in read_stages(two.folder)
    assert ran(two) == ["one"]
    put_back(two)
    code, output = aso_se("run", "two")
    assert code == 0, output
    assert ran(two) == ["one", "two"]
    require_right(two, 43)


def test_the_result_whose_files_were_put_back_is_still_restored(two: Toy) -> None:
    one = ("result", "folder/of/a", "metrics.json")
    older = {f"artifacts/one/{name}": Path(f"artifacts/one/{name}").read_text() for name in one}
    two.edit("seed: 42", "seed: 43")
    put_back(two, one=older)
    assert aso_se("run", "one")[0] == 1
    assert ran(two) == ["one"]
    put_back(two)
    two.edit("seed: 43", "seed: 42")
    assert aso_se("run", "two")[0] == 0
    assert ran(two) == []
    require_right(two, 42)


def test_a_stage_refuses_an_input_that_was_put_back_before_it_began(two: Toy) -> None:
    two.edit("seed: 42", "seed: 43")
    put_back(two, one={"artifacts/one/result": "old"})
    code, output = aso_se("run", "two")
    assert code == 1
    assert "artifacts/one/result: not what one wrote, another command replaced it; " in output
    assert ran(two) == ["one"]
    put_back(two)
    assert aso_se("run", "two")[0] == 0
    require_right(two, 43)


def test_plain_dvc_stops_too_and_is_told_how_to_go_on(two: Toy) -> None:
    two.edit("seed: 42", "seed: 43")
    put_back(two, one={"artifacts/one/result": "old"})
    code, output = dvc("repro", "two")
    assert code != 0
    command = output.split("replaced it; run 'dvc ")[1].split("'")[0]
    put_back(two)
    assert dvc(*command.split())[0] == 0
    assert dvc("repro", "two")[0] == 0
    require_right(two, 43)


def test_an_input_that_was_put_back_at_the_end_is_not_recorded(two: Toy) -> None:
    two.edit("seed: 42", "seed: 43")
    put_back(two, two={"artifacts/one/result": "seed 42 one"})
    code, output = aso_se("run", "two")
    assert code == 1
    assert "\nartifacts/one/result: another command replaced it before DVC recorded two" in output
    assert "two" not in read_stages(two.folder)
    put_back(two)
    assert aso_se("run", "two")[0] == 0
    assert ran(two)[-1] == "two"
    require_right(two, 43)


def test_what_is_restored_between_two_runs_is_right(two: Toy) -> None:
    two.edit("seed: 42", "seed: 43")
    assert aso_se("run", "two")[0] == 0
    for command in ("dvc", "aso-se"):
        two.run("git", "checkout", "--quiet", "params.yaml", "dvc.lock", "artifacts")
        two.dvc("checkout", "--force")
        if command == "dvc":
            assert dvc("repro", "--force", "--single-item", "two")[0] == 0
        else:
            assert aso_se("run", "two")[0] == 0
        require_right(two, 42)


def test_a_stage_that_fails_after_it_has_written_is_not_taken_for_recorded(two: Toy) -> None:
    two.edit("seed: 42", "seed: 43")
    recipe = (two.folder / "written.py").read_text()
    (two.folder / "written.py").write_text(f"{recipe}\nraise SystemExit(3)\n")
    code, output = aso_se("run", "two")
    assert code == 3
    assert "replaced" not in output
    assert "one" in read_stages(two.folder)
