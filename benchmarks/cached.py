"""Run stages unchanged, each only once for the same params, inputs and code.

A folder of images is identified by its path alone. With `target.milliseconds` stages read the
latency.json of the folder in which the benchmark was started.
"""

import hashlib
import importlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.cache_keys import import_closure
from pipeline.harness.plain_yaml import plain_values

SOURCE = Path(__file__).resolve().parents[1]
NEEDS = {
    "prepare": (),
    "warmup": ("prepare",),
    "search": ("prepare", "warmup"),
    "growth": ("prepare", "search"),
    "optimize": ("prepare", "growth"),
    "derive": ("prepare", "optimize"),
    "reference": ("prepare", "derive"),
}
"""Stages in their order, with the stages whose results each reads."""


def run_stage(folder: Path, text: str, name: str, *inputs: Path) -> Path:
    """Run a stage in `folder` unless it ran there before; return the folder of its results.

    text: a complete params file. inputs: results of other stages, also in `folder`.
    """
    document = YAML(typ="safe").load(text)
    # Stages run in folders of their own, so a relative path would be wrong.
    document["data"]["path"] = str(Path(document["data"]["path"]).resolve())
    sections = importlib.import_module(f"stages.{name}").Params.model_fields
    params = {section: document[section] for section in sections}
    key = json.dumps([params, code_digest(name), *(one.name for one in inputs)])
    targeted = "target" in params and params["target"]["milliseconds"] is not None
    table = Path("latency.json").read_text(encoding="utf-8") if targeted else ""
    key += table
    out = folder / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    if not (out / "done").exists():
        out.mkdir(parents=True, exist_ok=True)
        (out / "params.yaml").write_text(json.dumps(document), encoding="utf-8")
        if table:
            (out / "latency.json").write_text(table, encoding="utf-8")
        subprocess.run(
            [sys.executable, "-m", f"stages.{name}", *inputs, out],
            cwd=out,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            check=True,
            stdout=sys.stderr,
        )
        (out / "done").touch()
    return out


@cache
def code_digest(name: str) -> str:
    """Return a digest of all code that a stage runs."""
    digest = hashlib.sha256()
    for path in sorted(import_closure(SOURCE / "stages" / f"{name}.py", SOURCE)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def run_stages(folder: Path, text: str, last: str) -> dict[str, Path]:
    """Run every stage up to `last`; return the folder of each stage's results."""
    done: dict[str, Path] = {}
    for name, needed in NEEDS.items():
        done[name] = run_stage(folder, text, name, *(done[one] for one in needed))
        if name == last:
            break
    return done


def metrics(out: Path) -> dict[str, Any]:
    """Return the metrics of a stage's results."""
    document: dict[str, Any] = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    return document


def assignment(text: str) -> tuple[str, Any]:
    """Return key and value of KEY=VALUE, with the value read as in params.yaml."""
    key, value = text.split("=", 1)
    return key, plain_values(f"value: {value}", text)["value"]


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """Return mean ± standard deviation."""
    mean = f"{statistics.mean(values):{form}}"
    return f"{mean} ± {statistics.stdev(values):{form}}" if len(values) > 1 else mean
