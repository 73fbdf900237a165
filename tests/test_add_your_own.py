"""The examples of docs/add-your-own.md, each in a copy of the project, do what the page says."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.harness.files import write_atomically
from pipeline.running.repro import environment_of_dvc

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "add-your-own.md"
COPIED = ("pipeline", "stages", "tests", "profiles", "docs")
FILES = ("dvc.yaml", "params.yaml", "pyproject.toml", "params.schema.json", "latency.json")
BLOCK = re.compile(
    r"(?:^`(?P<path>[\w/.-]+)`:\n\n)?^```(?P<kind>python|diff)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def examples() -> dict[str, list[tuple[Path, str, str]]]:
    """Return the blocks of each section: file, kind, text."""
    found = {}
    for section in PAGE.read_text().split("\n## ")[1:]:
        title, path, blocks = section.partition("\n")[0], Path(), []
        for block in BLOCK.finditer(section):
            path = Path(block["path"]) if block["path"] else path
            blocks.append((path, block["kind"], block["text"]))
        found[title] = blocks
    return found


EXAMPLES = examples()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project, the current folder."""
    ignored = shutil.ignore_patterns("__pycache__")
    for name in COPIED:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored, symlinks=True)
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def apply(project: Path, title: str) -> None:
    """Write the files of an example, and make its edits."""
    for path, kind, text in EXAMPLES[title]:
        file = project / path
        if kind == "python":
            write_atomically(file, text.encode())
            init = file.with_name("__init__.py")
            init.touch()
        else:
            edit(file, text)


def edit(file: Path, diff: str) -> None:
    """Apply a diff to a file, in which the old lines must occur once."""
    for hunk in diff.split("@@\n"):
        lines = [line if line.strip() else " \n" for line in hunk.splitlines(keepends=True)]
        before = "".join(line[1:] for line in lines if line[0] in " -")
        after = "".join(line[1:] for line in lines if line[0] in " +")
        content = file.read_text()
        assert content.count(before) == 1, f"{file}: not once there: {before}"
        file.write_text(content.replace(before, after))


def run(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        env=environment_of_dvc(Path.cwd()),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pytest_in(project: Path, *files: str) -> None:
    """Run tests of the copy, in the copy."""
    assert " passed" in run("-m", "pytest", "-q", "-p", "no:cacheprovider", *files)


def write_params(project: Path, changes: dict[str, object]) -> None:
    """Write params.yaml with some values replaced, as the copy of the project composes it."""
    script = (
        "import json, sys; from pathlib import Path; from pipeline.running import overrides;"
        "print(overrides.compose(Path(), 'digits', json.loads(sys.argv[1])), end='')"
    )
    (project / "params.yaml").write_text(run("-c", script, json.dumps(changes)))


def test_every_example_has_edits_and_the_page_no_other() -> None:
    assert {title: len(blocks) for title, blocks in EXAMPLES.items()} == {
        "A search space": 2,
        "An operation": 1,
        "A data source": 2,
        "A schedule": 1,
        "A stage": 5,
    }


def test_a_search_space_runs_from_warmup_to_the_report(project: Path) -> None:
    apply(project, "A search space")
    operations = ["none", "skip_connect", "conv_3x3", "mobile_5x5"]
    network = {"network.space": "chain", "network.operations": operations, "network.nodes": 2}
    test = project / "tests" / "test_every_profile.py"
    shrunk = "SHRUNK: dict[str, Any] = {"
    test.write_text(test.read_text().replace(shrunk, f"{shrunk}**{network!r},"))
    pytest_in(project, "tests/test_every_profile.py::test_every_profile_reaches_its_report[digits]")
    pytest_in(project, "tests/space/test_network.py", "tests/growing/test_morph.py")


def test_an_operation_can_be_named_built_and_drawn(project: Path) -> None:
    apply(project, "An operation")
    write_params(project, {"network.operations": ["none", "skip_connect", "sep_conv_9x9"]})
    pytest_in(project, "tests/space/test_operations.py", "tests/reporting/test_cells.py")


def test_a_data_source_is_prepared(project: Path) -> None:
    apply(project, "A data source")
    write_params(project, {"data.name": "stripes"})
    assert "stripes, 2 classes" in run("-m", "stages.prepare", "artifacts/prepare")


def test_a_schedule_can_be_named_by_every_phase(project: Path) -> None:
    apply(project, "A schedule")
    phases = ("warmup", "search", "growth", "optimize")
    write_params(project, {f"{phase}.schedule": "square_root" for phase in phases})
    script = (
        "from pipeline.harness.params_file import read_params; from pipeline.params import Params;"
        "print(read_params(Params, whole=True).search.rate(epochs=4, done=3, losses=[]))"
    )
    assert float(run("-c", script)) == pytest.approx(0.01 + 0.02 * 0.5)


def test_a_stage_is_run_by_dvc_with_the_deps_that_are_written_for_it(project: Path) -> None:
    apply(project, "A stage")
    run("-m", "pipeline.documenting")
    write_params(project, {})
    assert "census:\n" in (project / "params.yaml").read_text()
    run("-m", "pipeline.cache_keys")
    entry = (project / "dvc.yaml").read_text().partition("  census:\n")[2].partition("\n\n")[0]
    assert "params: [census]" in entry
    for dep in ("pipeline/counting", "pipeline/harness", "pipeline/prepared", "stages/census.py"):
        assert f"- {dep}\n" in entry
    (project / "data").mkdir()
    run("-m", "dvc", "init", "--no-scm", "--quiet")
    run("-m", "dvc", "repro", "census")
    assert '"3": ' in (project / "artifacts/census/census.json").read_text()
