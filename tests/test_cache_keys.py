"""The deps and params in `dvc.yaml` are the code that a stage reaches and the keys it reads."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.cache_keys import (
    HARMLESS,
    SHOWN,
    import_closure,
    is_code,
    params_of,
    problems,
    written,
)

ROOT = Path(__file__).resolve().parents[1]
PLAIN = {"check", "report"}
"""Stages that read of a search space only what needs no torch."""
STAGES = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the code and its graph."""
    ignored = shutil.ignore_patterns("__pycache__")
    for folder in ("pipeline", "stages"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    return tmp_path


def edit(path: Path, old: str, new: str, *, after: str = "") -> None:
    """Replace the first `old` that follows `after`."""
    head, mark, tail = path.read_text().partition(after) if after else ("", "", path.read_text())
    assert old in tail
    path.write_text(head + mark + tail.replace(old, new, 1))


def test_dvc_yaml_is_what_the_code_says_byte_for_byte() -> None:
    assert problems(ROOT) == []
    assert written(ROOT) == (ROOT / "dvc.yaml").read_text()


@pytest.mark.parametrize("stage", STAGES)
def test_no_dep_holds_code_that_the_stage_never_imports(stage: str) -> None:
    closure = import_closure(ROOT / "stages" / f"{stage}.py", ROOT)
    for dep in filter(is_code, STAGES[stage]["deps"]):
        files = [ROOT / dep] if dep.endswith(".py") else (ROOT / dep).rglob("*.py")
        assert {path for path in files if path.read_text().strip()} <= closure, dep


@pytest.mark.parametrize("stage", [name for name in STAGES if name not in PLAIN])
def test_a_stage_depends_on_whole_folders_of_the_pipeline(stage: str) -> None:
    code = [dep for dep in STAGES[stage]["deps"] if is_code(dep)]
    assert [dep for dep in code if dep.endswith(".py")] == [f"stages/{stage}.py"]


def test_what_a_stage_says_and_how_it_is_ended_is_a_dep_only_of_the_report_that_shows_it() -> None:
    for name, stage in STAGES.items():
        assert set(HARMLESS) & set(stage["deps"]) == set(SHOWN.get(name, ()))


@pytest.mark.parametrize("dep", ["pipeline/space", "pipeline/harness", "stages/search.py"])
def test_a_dep_that_is_missing_is_reported_by_name_and_written_again(
    project: Path, dep: str
) -> None:
    edit(project / "dvc.yaml", f"      - {dep}\n", "", after="\n  search:\n")
    assert problems(project) == [f"search: deps lack {dep}, which its code imports"]
    assert written(project) == (ROOT / "dvc.yaml").read_text()


def test_a_new_import_is_reported_by_every_stage_that_reaches_it(project: Path) -> None:
    (project / "pipeline" / "extra.py").write_text("NUMBER = 1\n")
    cell = project / "pipeline" / "space" / "cell.py"
    edit(cell, "import torch\n", "import torch\nfrom pipeline.extra import NUMBER\n")
    assert problems(project) == [
        f"{stage}: deps lack pipeline/extra.py, which its code imports"
        for stage in STAGES
        if stage not in {"check", "prepare", "report"}
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "import pipeline.extra",
        "from pipeline import extra",
        "def late():\n    from pipeline.extra import NUMBER",
        "from ..extra import NUMBER",
        "from .. import extra",
    ],
)
def test_every_way_to_import_is_seen(project: Path, statement: str) -> None:
    (project / "pipeline" / "extra.py").write_text("NUMBER = 1\n")
    cell = project / "pipeline" / "space" / "cell.py"
    edit(cell, "import torch\n", f"import torch\n{statement}\n")
    assert any("pipeline/extra.py" in line for line in problems(project))


def test_the_code_of_a_package_counts_as_soon_as_it_has_any(project: Path) -> None:
    (project / "pipeline" / "__init__.py").write_text("NUMBER = 1\n")
    missing = [
        f"{stage}: deps lack pipeline/__init__.py, which its code imports" for stage in STAGES
    ]
    assert problems(project) == missing


def test_params_that_are_not_tracked_or_tracked_in_vain_are_reported_by_name(
    project: Path,
) -> None:
    edit(
        project / "dvc.yaml",
        "training, target, search]",
        "target, search, warmup]",
        after="\n  search:\n",
    )
    assert problems(project) == [
        "search: params lack training, which its Params reads",
        "search: params name warmup, which its Params never reads",
    ]


def test_what_decides_a_genotype_reruns_neither_warmup_nor_search() -> None:
    deciding = {"network.max_skips", "network.edges_per_node"}
    for stage, runs_again in (("warmup", False), ("search", False), ("optimize", True)):
        tracked = set(params_of(ROOT / "stages" / f"{stage}.py"))
        assert bool(tracked & (deciding | {"network"})) == runs_again, stage


def test_params_of_training_rerun_no_stage_that_they_cannot_change() -> None:
    for stage in ("prepare", "derive", "export"):
        assert not [key for key in STAGES[stage].get("params", []) if key.startswith("training")]
    reference = STAGES["reference"]["params"]
    assert "training.evaluation_batch_size" not in reference
    assert "training.batch_size" in reference


def test_a_dep_that_the_code_never_reaches_is_reported_by_name(project: Path) -> None:
    edit(
        project / "dvc.yaml",
        "      - pipeline/space\n",
        "      - pipeline/space\n      - pipeline/growing\n",
        after="\n  search:\n",
    )
    assert problems(project) == ["search: deps name pipeline/growing, which its code never imports"]


def test_the_closure_holds_all_that_python_really_imports() -> None:
    script = "import sys, stages.check; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = {name for name in done.stdout.split() if name.split(".")[0] in {"pipeline", "stages"}}
    files = {
        file
        for name in loaded
        for base in [ROOT.joinpath(*name.split("."))]
        for file in (base.with_suffix(".py"), base / "__init__.py")
        if file.is_file() and ast.parse(file.read_text()).body
    }
    # As a command a stage also begins to listen for signals; a teacher is read if params name one.
    later = {"console/interruption.py", "console/stage.py", "optimizing/teacher.py"}
    assert files | {ROOT / "pipeline" / one for one in later} == import_closure(
        ROOT / "stages" / "check.py", ROOT
    )


def test_git_leaves_line_ends_as_they_are_on_every_machine(tmp_path: Path) -> None:
    shutil.copy(ROOT / ".gitattributes", tmp_path)
    (tmp_path / "code.py").write_bytes(b"NUMBER = 1\n")
    git = ["git", "-C", str(tmp_path), "-c", "core.autocrlf=true"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    (tmp_path / "code.py").unlink()
    subprocess.run([*git, "checkout", "code.py"], check=True)
    assert (tmp_path / "code.py").read_bytes() == b"NUMBER = 1\n"
