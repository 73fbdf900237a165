"""The results of a tree's last run: its metrics, and the exported model with its documents."""

import difflib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.harness.errors import RunError
from pipeline.harness.files import write_atomically

COSTS = {
    "parameters": "derive.parameters",
    "mflops": "derive.mflops",
    "kilobytes": "export.onnx_bytes",
    "milliseconds": "export.target.milliseconds.estimated",
}
"""Metric of each cost; kilobytes are a thousandth of it."""


def read_metrics(tree: Path) -> dict[str, float]:
    """Return every number of `artifacts/<stage>/metrics.json` as `<stage>.<name>`.

    The name of a number within others has a dot for each level.
    """
    paths = sorted((tree / "artifacts").glob("*/metrics.json"))
    return metrics_in({path.parent.name: path.read_text(encoding="utf-8") for path in paths})


def metrics_in(documents: Mapping[str, str]) -> dict[str, float]:
    """Return what `read_metrics` does, from the JSON of each stage."""
    return {
        name: value
        for stage, text in documents.items()
        for name, value in _numbers(stage, json.loads(text))
    }


def cost_in(metrics: Mapping[str, float], name: str) -> float | None:
    """Return a cost among the metrics of a run, or None."""
    found = metrics.get(COSTS[name])
    return found / 1e3 if found is not None and name == "kilobytes" else found


def _numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _numbers(f"{name}.{key}", one)
    elif isinstance(value, int | float):
        yield name, value


def pick(metrics: Mapping[str, float], name: str) -> float:
    """Return one metric.

    Raises:
        RunError: there is no metric of that name.
    """
    if name not in metrics:
        stage, _, column = name.partition(".")
        known = [other for other in metrics if other.startswith(f"{stage}.")] or list(metrics)
        columns = {other.partition(".")[2]: other for other in known}
        close = difflib.get_close_matches(column or name, columns, n=1, cutoff=0.7)
        hint = f"did you mean '{columns[close[0]]}'?" if close else f"there are: {', '.join(known)}"
        raise RunError(f"{name}: no such metric; {hint}")
    return metrics[name]


def check_metric(tree: Path, name: str) -> None:
    """Raise RunError if the metric's stage has been run and has no metric of that name.

    Raises:
        RunError: there is no metric of that name.
    """
    stage = name.partition(".")[0]
    known = read_metrics(tree)
    if any(other.startswith(f"{stage}.") for other in known) or "." not in name:
        pick(known, name)


def copy_export(tree: Path, folder: Path) -> None:
    """Copy the exported model to `folder`, with its card, test vectors and smaller models."""
    exported = tree / "artifacts" / "export"
    for path in [*sorted(exported.glob("model*")), *sorted(exported.glob("*/*"))]:
        write_atomically(folder / path.relative_to(exported), path.read_bytes())
