"""The last lines of `aso-se run`: the model's accuracy, its best reference, and its files."""

from collections.abc import Iterator
from pathlib import Path

from pipeline.comparison.references import read_references, sentence
from pipeline.running.results import read_metrics

MODEL = "artifacts/export/model.onnx"
REFERENCES = Path("artifacts/reference/references.json")
FILES = {
    "report": "artifacts/report/report.html",
    "model": MODEL,
    "card": "artifacts/export/model_card.md",
}


def last_lines(tree: Path, seconds: float) -> Iterator[str]:
    """Yield the lines about the results in a tree that is up to date.

    seconds: duration of the run.

    Raises:
        ReportError: the references cannot be read.
    """
    yield ""
    yield from findings(tree)
    yield f"this run took {duration(seconds)}"
    files = {name: path for name, path in FILES.items() if (tree / path).exists()}
    for name, path in files.items():
        yield f"{name:<7} {path}"
    if "model" in files:
        yield f"{'next':<7} aso-se predict {MODEL} IMAGE..."


def findings(tree: Path) -> Iterator[str]:
    """Yield the lines about the accuracy and the best reference; errors as `last_lines`."""
    metrics = read_metrics(tree)
    if "derive.test_accuracy" in metrics:
        names = ("test_accuracy", "test_accuracy_low", "test_accuracy_high", "test_images")
        accuracy, low, high, images = (metrics[f"derive.{name}"] for name in names)
        interval = f"95 % interval {low:.1%} to {high:.1%}"
        yield f"test accuracy {accuracy:.1%} of {images:,} images ({interval})"
    if (tree / REFERENCES).exists():
        yield sentence(read_references(tree / REFERENCES))


def duration(seconds: float) -> str:
    """Return a duration as people write it: '2 h 5 min', '3 min 20 s' or '12 s'."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
