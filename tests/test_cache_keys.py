"""What `dvc.yaml` says a stage depends on is what its code reaches."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cache_keys import import_closure, problems, sections

ROOT = Path(__file__).resolve().parents[1]
STAGES = (
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
)


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


def test_every_stage_depends_on_all_that_its_code_reaches_and_on_no_more() -> None:
    assert problems(ROOT) == []


@pytest.mark.parametrize(
    "dep", ["pipeline/space", "pipeline/harness/errors.py", "stages/__init__.py"]
)
def test_a_dep_that_is_missing_is_reported_by_name(project: Path, dep: str) -> None:
    edit(project / "dvc.yaml", f"      - {dep}\n", "", after="\n  search:\n")
    found = problems(project)
    assert found
    assert all(line.startswith(f"search: deps lack {dep}") for line in found)


def test_a_new_import_is_reported_by_every_stage_that_reaches_it(project: Path) -> None:
    (project / "pipeline" / "extra.py").write_text("NUMBER = 1\n")
    cell = project / "pipeline" / "space" / "cell.py"
    edit(cell, "import torch\n", "import torch\nfrom pipeline.extra import NUMBER\n")
    expected = [
        f"{stage}: deps lack pipeline/extra.py, which its code imports"
        for stage in STAGES
        if stage not in {"check", "prepare"}
    ]
    assert problems(project) == expected


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


def test_a_section_that_is_not_tracked_is_reported_by_name(project: Path) -> None:
    edit(project / "dvc.yaml", "training, search]", "search]", after="\n  search:\n")
    (line,) = problems(project)
    assert line.startswith("search: params are ")
    assert "'training'" in line.split("reads")[1]


def test_a_section_that_is_tracked_in_vain_is_reported_by_name(project: Path) -> None:
    edit(project / "dvc.yaml", "[training]", "[training, warmup]", after="\n  derive:\n")
    (line,) = problems(project)
    assert line.startswith("derive: params are ['training', 'warmup']")


def test_a_dep_that_the_code_never_reaches_is_reported_by_name(project: Path) -> None:
    edit(
        project / "dvc.yaml",
        "      - pipeline/space\n",
        "      - pipeline/space\n      - pipeline/growing\n",
        after="\n  search:\n",
    )
    assert problems(project) == ["search: deps name pipeline/growing, which its code never imports"]


def test_the_sections_of_a_stage_are_those_of_its_params() -> None:
    found = sections(ROOT / "stages" / "search.py")
    assert found == {"seed", "augmentation", "training", "search"}


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
    assert files == import_closure(ROOT / "stages" / "check.py", ROOT)
