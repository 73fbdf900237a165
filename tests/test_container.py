"""The container's steps and the hooks before a commit, run as a shell would run them."""

import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]


def run(tree: Path, step: str) -> str:
    """Run a step; `make` only says what it would do, for that takes minutes."""
    step = step.replace("make ", "make --dry-run ")
    done = subprocess.run(["sh", "-c", step], cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{step}\n{done.stderr}"
    return done.stdout


def test_the_steps_of_the_image_run_in_a_clone(tmp_path: Path) -> None:
    tree, cache = tmp_path / "aso-se", tmp_path / "cache"
    subprocess.run(["git", "clone", "--quiet", ROOT, tree], check=True)
    (tree / ".venv").symlink_to(sys.prefix)
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    steps = [line.removeprefix("RUN ") for line in lines if line.startswith("RUN ")]
    assert "git make" in steps[0]  # all else that the two commands need is Python's
    said = [run(tree, step.replace("/cache", str(cache))) for step in steps[1:]]
    assert "uv pip install" in said[0]
    assert run(tree, ".venv/bin/dvc cache dir") == f"{cache}\n"


def test_the_hooks_before_a_commit_are_targets_of_the_gate() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    hooks = [hook for repo in YAML(typ="safe").load(text)["repos"] for hook in repo["hooks"]]
    assert [hook["entry"] for hook in hooks] == ["make lint", "make types"]
    assert "ruff check" in run(ROOT, hooks[0]["entry"])
    assert "mypy" in run(ROOT, hooks[1]["entry"])
