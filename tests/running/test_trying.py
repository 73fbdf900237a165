"""`aso-se try`, `compare`, `apply`: from an experiment beside the tree to its params in it."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from pipeline.comparison.references import References, write_references
from pipeline.harness.errors import RunError
from pipeline.running.applying import apply
from pipeline.running.ending import REFERENCES
from pipeline.running.saved import experiments
from pipeline.running.spent import read_tables, seconds_of
from tests.conftest import entered
from tests.running.test_ending import BEST
from tests.running.test_front import LONG, Start, aso_se, read_until, start
from tests.running.test_repro import processes_of
from tests.toy import Toy

pytestmark = pytest.mark.xdist_group("toy")
__all__ = ["start"]
OFTEN = ("try", "search.arch_update_freq=3", "--name", "often")

State = tuple[bytes, str, str]


def state_of(toy: Toy) -> State:
    """Return all of a working tree that an experiment could touch."""
    files = toy.run("git", "status", "--porcelain=v2", "--branch")
    return (toy.folder / "params.yaml").read_bytes(), files, toy.run("git", "worktree", "list")


def write_accuracy(toy: Toy, accuracy: float) -> None:
    measured = {
        "test_accuracy": accuracy,
        "test_accuracy_low": accuracy - 0.01,
        "test_accuracy_high": accuracy + 0.01,
        "test_images": 360,
        "parameters": 97115,
    }
    path = toy.folder / "artifacts/derive/metrics.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(measured))


@pytest.fixture(scope="module")
def tried(reproduced_toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> tuple[Toy, str]:
    """A project with the experiment `often`, and what was printed; copy it before you change it."""
    with pytest.MonkeyPatch.context() as patch:
        toy = entered(reproduced_toy, tmp_path_factory.mktemp("tried") / "project", patch)
        write_accuracy(toy, 0.95)
        toy.commit("an accuracy")
        before = state_of(toy)
        code, output = aso_se(*OFTEN)
        assert code == 0, output
        assert state_of(toy) == before
        assert toy.ran() == ["search", "export"]
    return toy, output


@pytest.fixture
def often(tried: tuple[Toy, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    return entered(tried[0], tmp_path / "project", monkeypatch)


def test_a_trial_shows_what_a_run_does_and_what_to_type_next(tried: tuple[Toy, str]) -> None:
    toy, output = tried
    assert "\nsearch 1/2: an epoch\n" in output
    assert "\ntest accuracy 95.0% of 360 images" in output
    assert output.endswith(
        "; params.yaml is unchanged\n"
        "model   .aso-se/experiments/often/model.onnx\n"
        "next    aso-se compare\n"
        "        aso-se apply often\n"
    )
    kept = toy.folder / ".aso-se/experiments/often/model.onnx"
    assert kept.read_text() == "a model of 0.2"
    assert toy.dvc("exp", "list", "--name-only").split() == ["often"]


def test_a_trial_that_is_stopped_exits_with_75_and_leaves_nothing(toy: Toy, start: Start) -> None:
    before = state_of(toy)
    process = start("-m", "pipeline", *OFTEN, TOY=LONG)
    read_until(process, "search 1/2")
    code, output = aso_se(*OFTEN)
    line = "often: is running already; choose another name, or wait for it\n"
    assert (code, output) == (1, line)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate()
    assert process.returncode == 75, output
    assert processes_of(toy) == {}
    assert state_of(toy) == before
    assert experiments(toy.folder) == {}


def test_a_trial_that_is_stopped_while_git_works_may_be_run_again_too(
    toy: Toy, start: Start
) -> None:
    hook = toy.folder / ".git/hooks/post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\ntouch checked-out\nsleep 60\n")
    hook.chmod(0o755)
    process = start("-m", "pipeline", *OFTEN)
    until = time.monotonic() + 30
    while not list(toy.folder.rglob("checked-out")):
        assert time.monotonic() < until
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
    output, _ = process.communicate()
    assert (process.returncode, output) == (75, "")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["search.arch_upd_freq=3"], "unknown key; did you mean 'arch_update_freq'?"),
        (["search.epochs"], "search.epochs: expected KEY=VALUE, such as search.arch_update_freq=5"),
        (["seed=1"], "often: an experiment with other params has this name; choose another,"),
    ],
)
def test_a_mistake_is_one_line_before_anything_starts(
    words: list[str], says: str, often: Toy
) -> None:
    code, output = aso_se("try", *words, "--name", "often")
    assert (code, output.count("\n")) == (1, 1)
    assert says in output
    assert often.ran() == []


def cells(output: str) -> dict[str, list[str]]:
    """Return the cells of each row of a table by its name."""
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in output.splitlines()]
    return {name: rest for name, *rest in filter(None, rows)}


def test_experiments_this_run_and_references_stand_in_one_narrow_table(
    often: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    write_accuracy(often, 0.9)
    write_references(often.folder / REFERENCES, References(compared=(BEST,)))
    code, output = aso_se("compare")
    assert code == 0
    assert max(map(len, output.splitlines())) <= 100
    accuracy = "95.0 (94.0 to 96.0)"
    assert list(cells(output).items()) == [
        ("workspace", ["", "90.0 (89.0 to 91.0)", "97,115", "10"]),
        ("often", ["search.arch_update_freq=3", accuracy, "97,115", "8"]),
        ("svc", ["", "98.9 (97.2 to 99.6)", "", ""]),
    ]
    assert "aso-se apply NAME" in output.splitlines()[-1]
    often.edit("arch_update_freq: 5", "arch_update_freq: 3")
    _, output = aso_se("compare", "workspace", "often")
    assert list(cells(output).items()) == [
        ("workspace", ["search.arch_update_freq=5", "90.0 (89.0 to 91.0)", "97,115", "10"]),
        ("often", ["", accuracy, "97,115", "8"]),
    ]
    said = "oftn: no such run, experiment or reference; did you mean 'often'?\n"
    assert aso_se("compare", "oftn") == (1, said)


def test_where_nothing_ran_there_is_nothing_to_compare(toy: Toy) -> None:
    (toy.folder / "dvc.lock").unlink()
    assert aso_se("compare") == (1, "nothing ran here yet; 'aso-se run' runs it\n")


def test_the_params_and_results_of_an_experiment_become_those_of_the_tree(
    often: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RunError, match=r"^oftn: no such experiment; did you mean 'often'\?$"):
        apply(often.folder, "oftn")
    often.edit("seed: 42", "seed: 7")
    (often.folder / "toy_stage.py").write_text("# edited\n")
    write_accuracy(often, 0.9)
    assert apply(often.folder, "often") == 0
    assert capsys.readouterr().out.splitlines() == [
        "params.yaml.before: copy of your own params.yaml",
        "params.yaml, dvc.lock and artifacts: now those of often",
        "often was run with other versions of toy_stage.py",
        "next: aso-se status",
    ]
    assert "seed: 7" in (often.folder / "params.yaml.before").read_text()
    assert "arch_update_freq: 3" in (often.folder / "params.yaml").read_text()
    assert '"test_accuracy": 0.95' in (often.folder / "artifacts/derive/metrics.json").read_text()
    assert (often.folder / "artifacts/export/model.onnx").read_text() == "a model of 0.2"
    assert (often.folder / "toy_stage.py").read_text() == "# edited\n"


def test_of_experiments_with_one_name_that_of_head_counts_else_the_newest(toy: Toy) -> None:
    head = toy.run("git", "rev-parse", "HEAD").strip()

    def save(baseline: str, seconds: int) -> str:
        """Save an experiment as DVC does, and return its commit."""
        words = ["-c", "user.name=a", "-c", "user.email=a@localhost", "commit-tree", "-m", "one"]
        dated = ["env", f"GIT_COMMITTER_DATE=@{1_700_000_000 + seconds} +0000", "git"]
        made = toy.run(*dated, *words, "HEAD^{tree}").strip()
        toy.run("git", "update-ref", f"refs/exps/{baseline[:2]}/{baseline[2:]}/one", made)
        return made

    toy.run("git", "update-ref", "refs/exps/exec/EXEC_APPLY", head)
    assert experiments(toy.folder) == {}
    newer = save("b" * 40, 2)
    save("a" * 40, 1)
    assert experiments(toy.folder)["one"].revision == newer
    of_head = save(head, 0)
    assert experiments(toy.folder)["one"].revision == of_head


def test_the_time_of_a_run_is_that_of_the_epochs_that_made_its_history(tmp_path: Path) -> None:
    progress = tmp_path / ".aso-se/progress"
    (progress / "often").mkdir(parents=True)
    noted = "epoch\tloss\tseconds\n1\t{}\t1.5\n2\t0.5\t2\n"
    (progress / "search.tsv").write_text(noted.format("0.7"))
    (progress / "often/search.tsv").write_text(noted.format("0.8"))
    (progress / "growth.tsv").write_text("epoch\tloss\tseconds\n1\t0.5\t\n2\t0.4\t2\n")
    tables = read_tables(tmp_path)
    history = "epoch\tloss\n1\t0.8\n2\t0.5\n"
    assert seconds_of({"search": history}, tables) == 3.5
    assert seconds_of({"search": history.replace("0.8", "0.9")}, tables) is None
    resumed = "epoch\tloss\n1\t0.5\n2\t0.4\n"
    assert seconds_of({"search": history, "growth": resumed}, tables) is None
    assert seconds_of({}, tables) is None
