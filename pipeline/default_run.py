"""What the documents say of the committed run, from the metrics that are committed with it.

    make figures

A test fails if README or docs/results.md differs from what this writes.
"""

import re
from pathlib import Path
from textwrap import wrap

from pipeline.events.event import read_events
from pipeline.harness.errors import RunError
from pipeline.harness.files import write_atomically
from pipeline.reporting.documents import Growths
from pipeline.reporting.files import read_json
from pipeline.running.ending import findings
from pipeline.running.results import read_metrics

README, RESULTS = Path("README.md"), Path("docs/results.md")
BEGINNING = {README: "test accuracy ", RESULTS: "<!-- make figures writes this -->\n"}
"""What stands before the words in each document; those in the README begin with it."""
WIDTH = 118
"""Length in characters of the longest line."""


def main() -> None:
    """Rewrite the figures in both."""
    for document in (README, RESULTS):
        write_atomically(document, with_figures(Path(), document).encode())


def with_figures(tree: Path, document: Path) -> str:
    """Return the text of README or results with the figures of the run in a tree.

    Raises:
        RunError: the document has no place for them.
    """
    text = (tree / document).read_text(encoding="utf-8")
    if document == README:
        line, pattern = _accuracy(tree), rf"^{BEGINNING[README]}.*"
    else:
        line = BEGINNING[RESULTS] + _list(tree)
        pattern = rf"^{re.escape(BEGINNING[RESULTS])}(?:- .*\n(?:  .*\n)*)*"
    found, count = re.subn(pattern, lambda _: line, text, count=1, flags=re.MULTILINE)
    if not count:
        raise RunError(f"{document}: has no line that begins with '{BEGINNING[document].strip()}'")
    return found


def _list(tree: Path) -> str:
    """Return the figures as a list in Markdown."""
    metrics = read_metrics(tree)
    accuracies = [
        f"{metrics[f'{phase}.validation_accuracy']:.1%}" for phase in ("warmup", "search", "growth")
    ]
    drop = 100 * metrics["search.drop_at_start"]
    moved = f"fell by {drop:.1f} points" if drop > 0 else f"rose by {-drop:.1f} points"
    growths = read_events(read_json(tree / "artifacts/growth/growth.json", Growths)["events"])
    grown = ", ".join(f"{one.what} {one.verdict}" for one in growths) or "nothing"
    accuracy, ahead = _accuracy(tree), 100 * metrics["reference.ahead_of_best"]
    lines = [
        (
            f"{accuracy[0].upper()}{accuracy[1:]}; {abs(ahead):.1f} points"
            f" {'ahead of' if ahead > 0 else 'behind'} its best reference, p ="
            f" {metrics['reference.p_value']:.2g}. {metrics['derive.parameters']:,.0f} parameters."
        ),
        (
            f"Validation accuracy at the end of warmup, search and growth: {', '.join(accuracies)}."
            f" It {moved} when search began. At the end of search, entropy is"
            f" {metrics['search.entropy_fraction']:.2f} of the largest there can be."
        ),
        (
            f"Growth: {grown}. No growth changed a logit by more than"
            f" {metrics['growth.growth_max_difference']:.1e}."
        ),
        (
            f"ONNX Runtime's logits are within {metrics['export.max_difference']:.1e} of torch's;"
            f" {metrics['export.agreement']:.1%} of the predictions agree."
        ),
    ]
    return "".join(_item(line) for line in lines)


def _accuracy(tree: Path) -> str:
    """Return the line of `aso-se run` about the accuracy."""
    return next(line for line in findings(tree) if line.startswith(BEGINNING[README]))


def _item(text: str) -> str:
    return "\n".join(wrap(text, WIDTH, initial_indent="- ", subsequent_indent="  ")) + "\n"


if __name__ == "__main__":
    main()
