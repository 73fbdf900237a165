"""Imports go one way: what is lower never knows what is above it."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = (
    {"errors", "section", "randomness", "ranks", "predicting"},
    {"space", "data"},
    {"exchange", "training"},
    {"warming", "searching", "growing", "optimizing", "deriving", "exporting", "reporting"},
    {"referencing"},
    {"stages"},
    {"params", "cache_keys"},
    {"profiles"},
    {"running"},
    {"flows", "documenting"},
    {"__main__"},
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
ALLOWED = {("stages.check", "pipeline.params")}
"""Only the first stage, which validates all params, may know them all."""


def modules() -> dict[str, Path]:
    """Return every module of the project by its dotted name."""
    paths = [path for package in ("pipeline", "stages") for path in (ROOT / package).rglob("*.py")]
    names = [path.relative_to(ROOT).with_suffix("").parts for path in paths]
    return {
        ".".join(parts[:-1] if parts[-1] == "__init__" else parts): path
        for parts, path in zip(names, paths, strict=True)
    }


def imports(path: Path) -> set[str]:
    """Return the dotted names of all that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import, which cache keys do not follow"
            assert node.module
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


MODULES = modules()
GRAPH = {name: imports(path) & MODULES.keys() for name, path in MODULES.items()}


def layer(module: str) -> str:
    """Return the layer of a module: 'space' of pipeline.space.cell, 'stages' of stages.search."""
    package, *rest = module.split(".")
    return rest[0] if package == "pipeline" and rest else package


@pytest.mark.parametrize("module", sorted(MODULES.keys() - {"pipeline"}))
def test_a_module_imports_only_from_its_own_level_and_below(module: str) -> None:
    above = {
        imported
        for imported in GRAPH[module] - {"pipeline"}
        if LEVEL[layer(imported)] > LEVEL[layer(module)] and (module, imported) not in ALLOWED
    }
    assert not above


@pytest.mark.parametrize("module", sorted(name for name in MODULES if name.startswith("pipeline")))
def test_the_pipeline_never_imports_the_stages(module: str) -> None:
    assert not {name for name in GRAPH[module] if name.split(".")[0] == "stages"}


def test_phases_of_the_method_do_not_import_one_another_except_growth_which_searches_on() -> None:
    phases = LAYERS[3]
    found = {
        (layer(module), layer(imported))
        for module, all_imported in GRAPH.items()
        for imported in all_imported
        if {layer(module), layer(imported)} <= phases and layer(module) != layer(imported)
    }
    assert found <= {("growing", "searching")}


def test_no_two_modules_import_each_other() -> None:
    list(TopologicalSorter(GRAPH).static_order())  # raises CycleError, which names them


def test_only_flows_know_prefect_and_nothing_imports_dvc() -> None:
    for module, path in MODULES.items():
        outside = {name.split(".")[0] for name in imports(path)}
        assert not outside & {"dvc", "dvclive"}, module
        assert layer(module) == "flows" or "prefect" not in outside, module


def test_reading_params_needs_neither_torch_nor_numpy() -> None:
    names = [name for name in MODULES if name.split(".")[-1] == "params"]
    assert len(names) > 8
    script = "\n".join(
        [
            "import sys",
            *(f"import {name}" for name in [*sorted(names), "stages.check"]),
            "heavy = {'torch', 'numpy', 'torchvision', 'sklearn', 'scipy', 'onnx', 'PIL'}",
            "sys.exit(' '.join(sorted(heavy & sys.modules.keys())) or 0)",
        ]
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
