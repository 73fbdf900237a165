"""Rules for imports that import-linter (`make lint`, pyproject.toml) cannot check."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILES = [path for package in ("pipeline", "stages") for path in (ROOT / package).rglob("*.py")]


def test_no_import_is_relative() -> None:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.ImportFrom) and node.level), path


def test_reading_params_needs_neither_torch_nor_numpy() -> None:
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in FILES
        if path.name == "params.py"
    ]
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


def test_importing_the_pipeline_installs_nothing() -> None:
    """Signals, hooks at exit and the environment are as they were."""
    script = """
import atexit, os, signal, sys
before = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]
environment, hooks = dict(os.environ), atexit._ncallbacks()
import stages, pipeline.console.stage, pipeline.console.interruption
after = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]
assert (before, environment) == (after, dict(os.environ))
assert pipeline.console.stage.CODE.at_start == {}
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
