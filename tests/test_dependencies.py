"""`pyproject.toml` names every package that the code imports, each with a lower bound."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
BESIDE = [*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "tests/faults/injected").glob("*.py")]
OURS = {"pipeline", "stages", "tests"} | {path.stem for path in BESIDE}
WITH_ANOTHER = {"pydantic-core"}
"""Packages whose exact version another of our packages prescribes."""


def name(requirement: str) -> str:
    """Return the name in a requirement such as 'ruamel.yaml>=0.18', as package indexes spell it."""
    return re.sub(r"[._-]+", "-", re.split(r"[<>=!~;\[ ]", requirement)[0]).lower()


def imports(path: Path) -> set[str]:
    """Return the dotted names of all that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def imported(*folders: str) -> set[str]:
    """Return the names of the packages that the code of some folders imports."""
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    modules = {module for path in paths for module in imports(path)}
    packages = packages_distributions()
    outside = {module.split(".")[0] for module in modules} - sys.stdlib_module_names - OURS
    found = set()
    for top in outside:
        names = {name(one) for one in packages[top]}
        # Several packages share a namespace such as `ruamel`.
        found |= {one for one in names if one.replace("-", ".") in modules} or names
    return found - WITH_ANOTHER


def test_what_a_stage_imports_is_installed_without_extras() -> None:
    beyond = {"flows", "running", "__pycache__"}
    layers = [one.name for one in (ROOT / "pipeline").iterdir() if one.is_dir()]
    needed = imported("stages", *(f"pipeline/{one}" for one in layers if one not in beyond))
    assert needed <= {name(one) for one in PROJECT["dependencies"]}


def test_whatever_is_imported_is_declared() -> None:
    declared = {name(one) for one in sum(EXTRAS.values(), PROJECT["dependencies"])}
    assert imported("pipeline", "stages", "tests", "benchmarks") <= declared


@pytest.mark.parametrize("requirement", sum(EXTRAS.values(), PROJECT["dependencies"]))
def test_a_requirement_has_a_lower_bound(requirement: str) -> None:
    assert re.fullmatch(r"[\w.-]+(\[\w+\])?>=[\d.]+(,<[\d.]+)?", requirement)
