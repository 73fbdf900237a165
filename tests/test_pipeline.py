"""The real DVC drives the real stages, in a copy of the project, on a tiny profile."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

pytestmark = [pytest.mark.pipeline, pytest.mark.xdist_group("pipeline")]

ROOT = Path(__file__).resolve().parents[1]
STAGES = [
    "check",
    "prepare",
    "warmup",
    "search",
    "growth",
    "optimize",
    "derive",
    "reference",
    "export",
    "report",
]
TINY = {
    "network": {"cells": 3, "nodes": 1, "channels": 4, "stem_multiplier": 1},
    "training": {"batch_size": 128, "evaluation_batch_size": 256, "sampled_paths": 1},
    "warmup": {"epochs": 2, "skip_epochs": 1},
    "search": {"epochs": 2, "arch_update_freq": 4},
    "growth": {"epochs": 4, "patience": 1, "min_improvement": 0.9, "settle": 1, "tolerance": 0.9},
    "optimize": {"epochs": 2},
    "reference": {"kinds": ["majority", "svc", "resnet"]},
}


class Project:
    """A copy of the project in a Git repository of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DVC_SITE_CACHE_DIR": str(folder.parent / "site-cache"),
            "DVC_NO_ANALYTICS": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "OMP_NUM_THREADS": "1",
            "SHELL": "/bin/sh",  # dash, say: unlike bash it forks for a single command
        }

    def run(self, *command: str) -> str:
        """Run a command in the project; return all it printed; fail where it does."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}"
        return done.stdout

    def repro(self) -> list[str]:
        """Run `dvc repro`; return the stages that really ran."""
        return ran(self.run("dvc", "repro"))

    def changed(self) -> set[str]:
        """Return the stages that DVC finds invalid by themselves, not through an earlier one."""
        document = json.loads(self.run("dvc", "status", "--json"))
        return {name for name, reasons in document.items() if "changed deps" in str(reasons)}

    def set(self, key: str, value: float | str) -> None:
        path = self.folder / "params.yaml"
        params = YAML(typ="safe").load(path.read_text())
        *section, name = key.split(".")
        (params[section[0]] if section else params)[name] = value
        path.write_text(json.dumps(params))

    def append_comment(self, file: str) -> None:
        path = self.folder / file
        path.write_text(path.read_text() + "\n# A comment that changes no result.\n")

    def commit(self, message: str) -> None:
        identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
        self.run("git", "add", "--all")
        self.run("git", *identity, "commit", "--quiet", "--message", message)

    def metrics(self, stage: str) -> dict[str, float]:
        document = json.loads((self.folder / "artifacts" / stage / "metrics.json").read_text())
        assert isinstance(document, dict)
        return document


def ran(output: str) -> list[str]:
    return re.findall(r"^Running stage '(\w+)'", output, re.MULTILINE)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of what is in the working tree, on the tiny profile, reproduced once."""
    folder = tmp_path_factory.mktemp("a project, kopiert") / "aso-se"
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in names.splitlines():
        if (ROOT / name).is_file() and not name.startswith(("artifacts/", "tests/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    (folder / "dvc.lock").unlink(missing_ok=True)
    params = YAML(typ="safe").load((folder / "params.yaml").read_text())
    for section, changes in TINY.items():
        params[section].update(changes)
    (folder / "params.yaml").write_text(json.dumps(params))
    made = Project(folder)
    made.run("git", "init", "--quiet", "--initial-branch=main")
    made.commit("a project")
    assert made.repro() == STAGES
    made.commit("reproduced")
    return made


@pytest.fixture
def edited(project: Project) -> Iterator[Project]:
    """The project, for a test that edits its files; they are put back afterwards."""
    yield project
    project.run("git", "checkout", "--quiet", ".")


@pytest.fixture
def rerun(edited: Project) -> Iterator[Project]:
    """The project, for a test that reproduces after an edit; artifacts are put back too."""
    yield edited
    edited.run("git", "checkout", "--quiet", ".")
    edited.run("dvc", "checkout", "--quiet")


def test_a_second_repro_runs_nothing(project: Project) -> None:
    assert project.repro() == []


def test_every_stage_leaves_its_artifacts(project: Project) -> None:
    artifacts = project.folder / "artifacts"
    assert (artifacts / "export" / "model.onnx").stat().st_size > 0
    assert 0 <= project.metrics("derive")["test_accuracy"] <= 1
    assert project.metrics("derive")["test_images"] == 360
    assert project.metrics("export")["max_difference"] <= 1e-4
    assert project.metrics("growth")["growths_accepted"] >= 1
    assert project.metrics("growth")["growth_max_difference"] <= 1e-5
    page = (artifacts / "report" / "report.html").read_text()
    assert f"{project.metrics('derive')['test_accuracy']:.1%}" in page


def test_history_counts_the_epochs_on_over_the_stages(project: Project) -> None:
    epochs: list[int] = []
    for stage in ("warmup", "search", "growth", "optimize"):
        text = (project.folder / "artifacts" / stage / "history.tsv").read_text()
        epochs += [int(row["epoch"]) for row in csv.DictReader(io.StringIO(text), delimiter="\t")]
    assert epochs == list(range(1, 11))


@pytest.mark.parametrize(
    ("key", "value", "readers"),
    [
        ("seed", 43, [*STAGES[1:6], "reference"]),
        ("data.validation_fraction", 0.25, ["prepare"]),
        ("data.stored_size", 12, ["prepare"]),
        ("augmentation.crop_padding", 2, [*STAGES[2:6], "reference"]),
        ("network.initial_noise", 0.1, ["warmup", "growth"]),
        ("network.max_skips", 1, ["growth", "optimize", "reference"]),
        ("network.edges_per_node", 1, ["growth", "optimize", "reference"]),
        ("training.batch_size", 64, [*STAGES[2:6], "reference"]),
        ("training.evaluation_batch_size", 64, STAGES[2:6]),
        ("training.max_recoveries", 1, [*STAGES[2:6], "reference"]),
        ("training.sampled_paths", 2, STAGES[2:5]),
        ("training.max_disabled", 1, STAGES[2:5]),
        ("warmup.learning_rate", 0.06, ["warmup"]),
        ("warmup.epochs", 3, ["warmup", "reference"]),
        ("search.arch_update_freq", 3, ["search", "growth", "reference"]),
        ("growth.settle", 2, ["growth"]),
        ("optimize.label_smoothing", 0.2, ["optimize", "reference"]),
        ("optimize.teacher", "teacher.onnx", ["optimize", "reference"]),
        ("reference.backbone", "resnet18", ["reference"]),
        ("export.max_difference", 2e-4, ["export"]),
    ],
)
def test_an_edited_param_invalidates_exactly_the_stages_that_read_it(
    edited: Project, key: str, value: float | str, readers: list[str]
) -> None:
    edited.set(key, value)
    assert edited.changed() == {"check", *readers, "report"}  # which shows them all


@pytest.mark.parametrize(
    ("file", "users"),
    [
        ("data/README.md", ["prepare", "report"]),
        ("pipeline/params.py", ["check"]),
        ("pipeline/batches/batches.py", STAGES[2:9]),
        ("pipeline/space/cell.py", STAGES[2:-1]),
        ("pipeline/space/description.py", STAGES[2:]),
        ("pipeline/training/steps.py", [*STAGES[2:6], "reference"]),
        ("pipeline/warming/warm.py", ["warmup"]),
        ("pipeline/searching/search.py", ["search"]),
        ("pipeline/alternating/alternation.py", ["search", "growth"]),
        ("pipeline/console/progress.py", []),
        ("pipeline/summaries/summary.py", ["report"]),
        ("stages/__init__.py", []),
        ("pipeline/growing/policy.py", ["growth"]),
        ("pipeline/optimizing/optimize.py", ["optimize", "reference"]),
        ("pipeline/referencing/compare.py", ["reference"]),
        ("pipeline/exporting/card.py", ["export"]),
        ("pipeline/reporting/page.html", ["report"]),
        ("pipeline/data/folders.py", ["prepare"]),
        ("pipeline/photos/decoding.py", ["prepare", "report"]),
        ("pipeline/answering/measure.py", ["derive", "reference"]),
        ("pipeline/margins/margins.py", ["optimize", "derive", "reference"]),
        ("pipeline/deriving/suspects.py", ["derive"]),
        ("stages/derive.py", ["derive"]),
        ("pipeline/cache_keys.py", []),
        ("README.md", []),
    ],
)
def test_edited_code_invalidates_exactly_the_stages_that_import_it(
    edited: Project, file: str, users: list[str]
) -> None:
    edited.append_comment(file)
    assert edited.changed() == set(users)


def test_an_edited_param_reruns_its_stage_and_what_follows(rerun: Project) -> None:
    rerun.set("export.max_difference", 2e-4)
    assert rerun.repro() == ["check", "export", "report"]


def test_an_edit_that_changes_no_result_reruns_its_stage_alone(rerun: Project) -> None:
    rerun.append_comment("pipeline/growing/policy.py")
    assert rerun.repro() == ["growth"]


def test_a_mistake_in_params_stops_everything_with_one_line(rerun: Project) -> None:
    path = rerun.folder / "params.yaml"
    path.write_text(path.read_text().replace("arch_update_freq", "arch_upd_freq"))
    done = subprocess.run(
        ["dvc", "repro"],
        cwd=rerun.folder,
        env=rerun.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert ran(done.stdout) == ["check"]
    line = "params.yaml: search.arch_upd_freq: unknown key; did you mean 'arch_update_freq'?"
    assert line in done.stderr
    assert "Traceback" not in done.stderr


def test_an_experiment_reruns_search_but_neither_prepare_nor_warmup(rerun: Project) -> None:
    change = "search.arch_update_freq=3"
    output = rerun.run("dvc", "exp", "run", "--name", "three", "--set-param", change, "growth")
    assert ran(output) == ["check", "search", "growth"]
    shown = rerun.run("dvc", "exp", "show", "--csv")
    rows = {row["Experiment"] or row["rev"]: row for row in csv.DictReader(io.StringIO(shown))}
    assert rows["three"]["search.arch_update_freq"] == "3"
    assert rows["main"]["search.arch_update_freq"] == "4"


def test_plots_show_the_curves_of_all_phases(project: Project) -> None:
    project.run("dvc", "plots", "show", "--out", "page")
    page = (project.folder / "page" / "index.html").read_text()
    shutil.rmtree(project.folder / "page")
    for phase in ("warmup", "search", "growth", "optimize"):
        assert phase in page
    for title in ("Validation accuracy over all phases", "Temperature", "Entropy"):
        assert title in page
    for picture in ("cells", "curves", "mistakes", "suspects"):
        assert f"artifacts_report_{picture}.svg" in page


def test_a_stage_dies_with_a_killed_dvc_and_goes_on_to_the_same_bytes(rerun: Project) -> None:
    artifacts = rerun.folder / "artifacts" / "growth"
    expected = {path.name: path.read_bytes() for path in artifacts.iterdir()}
    command = ["dvc", "repro", "--force", "--single-item", "growth"]
    with subprocess.Popen(
        command, cwd=rerun.folder, env=rerun.environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        while not process.stdout.readline().startswith("growth 2/4"):
            assert process.poll() is None
        process.kill()
        process.stdout.read()  # ends when no process has the other end: the stage is gone
    output = rerun.run(*command)
    assert re.search(r"^growth: resumes after epoch [23] of 4$", output, re.MULTILINE)
    assert {path.name: path.read_bytes() for path in artifacts.iterdir()} == expected
    assert not list((rerun.folder / ".aso-se" / "resume").iterdir())


def test_several_processes_train_a_stage_together_and_one_of_them_speaks(rerun: Project) -> None:
    rerun.environment["ASO_SE_PROCESSES"] = "2"
    try:
        output = rerun.run("dvc", "repro", "--force", "--single-item", "search")
    finally:
        del rerun.environment["ASO_SE_PROCESSES"]
    assert re.findall(r"^search (\d)/2", output, re.MULTILINE) == ["1", "2"]
    assert output.count("one of 2 processes") == 1
    assert (rerun.folder / "artifacts" / "search" / "genotype.json").exists()
