"""The artifacts of a run in Prefect: a table of its stages, the model card, the pictures."""

import base64
import re
from collections.abc import Sequence
from pathlib import Path

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from pipeline.flows.stages import Outcome
from pipeline.harness.showing import shown
from pipeline.running.results import read_metrics

KEY_METRICS = (
    "test_accuracy",
    "validation_accuracy",
    "drop_at_start",
    "growths_accepted",
    "entropy_fraction",
    "train_accuracy",
    "parameters",
    "onnx_bytes",
    "max_difference",
)
PICTURES = {".svg": "image/svg+xml", ".png": "image/png"}


def publish(tree: Path, outcomes: Sequence[Outcome], *, key: str) -> None:
    """Publish the table of stages and, after a successful run, the model card and the pictures.

    key: prefix of the artifacts' keys.
    """
    key = artifact_key(key)
    metrics = read_metrics(tree)
    rows = [
        {
            "stage": outcome.stage,
            "state": outcome.state,
            "seconds": round(outcome.seconds, 1),
            "result": shown(outcome.message or _summary(metrics, outcome.stage)),
        }
        for outcome in outcomes
    ]
    create_table_artifact(rows, key=f"{key}-stages", description="Stages in the order of the run")
    if any(outcome.failed for outcome in outcomes):
        return
    card = tree / "artifacts" / "export" / "model_card.md"
    if card.is_file():
        text = re.sub(r"\A---\n.*?\n---\n", "", card.read_text(encoding="utf-8"), flags=re.DOTALL)
        create_markdown_artifact(text, key=f"{key}-model-card", description="The exported model")
    if pictures := _pictures(tree):
        create_markdown_artifact(pictures, key=f"{key}-pictures", description="Cells and curves")


def artifact_key(text: str) -> str:
    """Return a key that Prefect accepts: lowercase letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _summary(metrics: dict[str, float], stage: str) -> str:
    """Return the first few key metrics of a stage, so that they fit in a cell of a table."""
    found = {name: metrics.get(f"{stage}.{name}") for name in KEY_METRICS}
    shown = [(name, value) for name, value in found.items() if value is not None][:3]
    return ", ".join(f"{name.replace('_', ' ')} {number(value)}" for name, value in shown)


def number(value: float) -> str:
    """Return a number as a person would write it: 12,345 or 0.9861."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _pictures(tree: Path) -> str:
    """Return all pictures among the artifacts as one page, which needs no other file.

    If a picture exists in both formats, only the SVG is used: it is smaller and sharper.
    """
    files = sorted(
        path
        for path in (tree / "artifacts").rglob("*")
        if path.suffix in PICTURES
        and not (path.suffix == ".png" and path.with_suffix(".svg").is_file())
    )
    return "\n\n".join(
        f"## {path.parent.name}: {path.stem}\n\n{as_markdown(path)}" for path in files
    )


def as_markdown(picture: Path) -> str:
    """Return a picture as Markdown that needs no other file."""
    data = base64.b64encode(picture.read_bytes()).decode()
    return f"![{picture.stem}](data:{PICTURES[picture.suffix]};base64,{data})"
