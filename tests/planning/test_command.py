"""`aso-se plan` through the front door: real steps of tiny networks, in a clone with a real DVC."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.__main__ import main
from pipeline.harness.params_file import read_params
from pipeline.harness.places import LOCK
from pipeline.locking.lock import hold
from pipeline.params import Params
from pipeline.running.overrides import replace
from tests.conftest import entered
from tests.toy import ROOT, Toy

pytestmark = pytest.mark.xdist_group("plan")
PHASES = ("warmup", "search", "growth", "optimize")
DVC = """
stages:
  prepare:
    cmd: python -m stages.prepare artifacts/prepare
    params: [seed, data]
    outs: [artifacts/prepare]
"""
SMALL = {
    "network.nodes": 1,
    "network.channels": 4,
    "network.stem_multiplier": 1,
    "training.batch_size": 256,
    "training.sampled_paths": 1,
    "growth.max_channels": 6,
    "reference.kinds": ["majority"],
}
AGAIN = "the images are prepared for this alone"

Plan = Callable[..., tuple[object, str, str]]


@pytest.fixture(scope="module")
def prepared_clone(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """A project whose images are prepared; copy it before you change it."""
    folder = tmp_path_factory.mktemp("plan") / "project"
    folder.mkdir()
    (folder / "dvc.yaml").write_text(DVC)
    (folder / ".gitignore").write_text("/.aso-se/\n")
    (folder / "params.yaml").write_text(replace((ROOT / "params.yaml").read_text(), SMALL))
    made = Toy(folder)
    made.run("git", "init", "--quiet", "--initial-branch=main")
    made.dvc("init", "--quiet")
    made.dvc("repro", "--quiet")
    return made


@pytest.fixture
def clone(prepared_clone: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A copy of that project, which is also the current directory."""
    return entered(prepared_clone, tmp_path / "project", monkeypatch)


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Plan:
    """Run the command; return its exit code and what it wrote to stdout and to stderr."""

    def run(*words: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["aso-se", "plan", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capfd.readouterr()

    return run


def epochs() -> dict[str, int]:
    params = read_params(Params, whole=True)
    return {phase: getattr(params, phase).epochs for phase in PHASES}


def without_numbers(text: str) -> str:
    return re.sub(r"(_|\b)epochs: +\d+ *", r"\1epochs: ", text)


def test_more_minutes_give_more_epochs_in_the_same_proportions(clone: Toy, plan: Plan) -> None:
    before, shares = (clone.folder / "params.yaml").read_text(), epochs()
    assert plan("--minutes", "0.5")[0] == 0
    few, text = epochs(), (clone.folder / "params.yaml").read_text()
    assert without_numbers(text) == without_numbers(before)
    (clone.folder / "params.yaml").write_text(before)
    code, shown, errors = plan("--minutes", "5")
    many = epochs()
    assert (code, errors) == (0, "")
    assert AGAIN not in shown
    assert all(few[phase] < many[phase] for phase in PHASES)
    for phase, share in shares.items():
        exact = share * many["warmup"] / shares["warmup"]
        assert abs(many[phase] - exact) <= 0.5 + 0.5 * share / shares["warmup"]
        assert re.search(rf"^{phase} +{share} +{many[phase]} +\d+\.\d$", shown, re.MULTILINE)
    assert "on top: the start of each stage" in shown
    assert "the training of" not in shown


def test_finalists_get_epochs_too(clone: Toy, plan: Plan) -> None:
    path = clone.folder / "params.yaml"
    path.write_text(replace(path.read_text(), {"search.finalists": 3}))
    code, shown, errors = plan("--minutes", "5")
    assert (code, errors) == (0, "")
    found = read_params(Params, whole=True).search.finalist_epochs
    assert found > 1
    assert re.search(rf"^finalists +1 +{found} +\d+\.\d$", shown, re.MULTILINE)


def test_a_dry_run_shows_the_plan_and_writes_nothing(clone: Toy, plan: Plan) -> None:
    clone.edit("- majority", "- majority\n  - resnet")
    before = {path: path.read_bytes() for path in clone.folder.glob("params.yaml*")}
    code, shown, _ = plan("--minutes", "1", "--dry-run")
    assert code == 0
    assert re.search(r"^all +\d+\.\d$", shown, re.MULTILINE)
    assert "on top: the training of resnet, " in shown
    assert {path: path.read_bytes() for path in clone.folder.glob("params.yaml*")} == before


def test_images_of_other_params_are_prepared_in_another_place(clone: Toy, plan: Plan) -> None:
    clone.edit("test_fraction: 0.2", "test_fraction: 0.5")
    facts = (clone.folder / "artifacts/prepare/dataset.json").read_bytes()
    code, shown, _ = plan("--minutes", "1", "--dry-run")
    assert code == 0
    assert AGAIN in shown
    assert (clone.folder / "artifacts/prepare/dataset.json").read_bytes() == facts


def test_too_few_minutes_are_refused_with_the_least_and_that_is_enough(
    clone: Toy, plan: Plan
) -> None:
    before = (clone.folder / "params.yaml").read_bytes()
    code, _, errors = plan("--minutes", "0.00001")
    assert code == 1
    needed = re.fullmatch(
        r"--minutes 1e-05: too few for one epoch of each phase on this machine;"
        r" at least (\S+) are needed\n",
        errors,
    )
    assert needed
    assert (clone.folder / "params.yaml").read_bytes() == before
    assert plan("--minutes", f"{100 * float(needed[1]):g}", "--dry-run")[0] == 0


def test_more_minutes_than_the_params_allow_epochs_are_refused(clone: Toy, plan: Plan) -> None:
    path = clone.folder / "params.yaml"
    path.write_text(replace(path.read_text(), {"optimize.epochs": 10_000}))
    code, _, errors = plan("--minutes", "1000000")
    assert code == 1
    assert "--minutes 1e+06: optimize.epochs: expected less than or equal to 10000, got " in errors


@pytest.mark.parametrize("minutes", ["0", "-3", "nan", "inf", "1e300", "ten"])
def test_minutes_that_no_run_takes_are_a_wrong_command_line(minutes: str, plan: Plan) -> None:
    code, shown, errors = plan("--minutes", minutes)
    assert (code, shown) == (2, "")
    assert errors.splitlines()[-1].startswith("Error: Invalid value for '--minutes': ")


def test_without_params_or_with_wrong_ones_nothing_is_measured(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    advice = "no such file; 'aso-se profile digits' writes params.yaml"
    assert plan("--minutes", "1") == (1, "", f"params.yaml: {advice}\n")
    text = replace((ROOT / "params.yaml").read_text(), {"optimize.epochs": "no"})
    (tmp_path / "params.yaml").write_text(text)
    code, shown, errors = plan("--minutes", "1")
    assert (code, shown, errors.count("\n")) == (1, "", 1)
    assert errors.startswith("params.yaml: optimize.epochs: ")


def test_images_that_cannot_be_read_are_one_line(clone: Toy, plan: Plan) -> None:
    path = clone.folder / "params.yaml"
    changes = {"data.name": "image_folder", "data.path": "nowhere"}
    path.write_text(replace(path.read_text(), changes))
    code, _, errors = plan("--minutes", "1")
    assert (code, errors.count("\n")) == (1, 1)
    assert errors.startswith("nowhere")


def test_a_tree_that_is_in_use_is_left_alone(clone: Toy, plan: Plan) -> None:
    with hold(clone.folder / LOCK, "another run", waiting=lambda _: None):
        code, _, errors = plan("--minutes", "1")
    assert (code, errors) == (1, "this tree is in use by another run; run it again afterwards\n")
