"""What a person would note at the end of a phase: what converged, what is open, what it cost.

The stage prints it when it ends, and the report shows it.
"""

from collections.abc import Sequence

from pipeline.harness.records import Row


def summary(
    rows: Sequence[Row],
    *,
    finals: Sequence[Row] = (),
    edges: int = 0,
    growths: Sequence[object] | None = None,
    keeps_best: bool = False,
) -> str:
    """Return a line about a phase.

    rows: its history. finals: rows of its finalists. edges: number of edges whose operations it
    searches. growths: all of them, which tell what they are; None if the phase cannot grow.
    keeps_best: whether the network of the best epoch goes on, not that of the last.
    """
    parts = [_accuracy(rows)]
    if edges:
        undecided, changed = int(rows[-1]["undecided_edges"]), rows[-1]["genotype_changes"]
        left = f", {undecided} open" if undecided else ""
        parts.append(f"{edges - undecided} of {edges} edges are decided{left}")
        parts.append(f"{int(changed)} changed in the last epoch")
    if growths is not None:
        parts += map(str, growths) if growths else ["nothing grew"]
    if keeps_best:
        best = max(rows, key=_validated)  # the first of several
        parts.append(f"the best epoch, {int(best['epoch'])}, is kept: {_validated(best):.1%}")
    parts.append(f"{image_passes([*rows, *finals]):,} image passes")
    return "; ".join(parts)


def image_passes(rows: Sequence[Row]) -> int:
    """Return the number of image passes of epochs."""
    return sum(int(row["image_passes"]) for row in rows)


def _accuracy(rows: Sequence[Row]) -> str:
    """Return how accuracy rose, and whether it still did in the end.

    Warmup's epochs of skip connections are left out: other paths have another accuracy.
    """
    rows = [row for row in rows if row.get("phase") == rows[-1].get("phase")]
    validated = "validation_accuracy" in rows[-1]
    column = "validation_accuracy" if validated else "train_accuracy"
    accuracies = [float(row[column]) for row in rows]
    rise = f"{'validation' if validated else 'training'} accuracy from"
    rise += f" {accuracies[0]:.1%} to {accuracies[-1]:.1%}"
    if not (late := len(rows) // 4):
        return rise
    points = round(100 * (accuracies[-1] - accuracies[-1 - late]), 1) + 0.0  # never -0.0
    return f"{rise}, {points:+.1f} points in the last quarter of the epochs"


def _validated(row: Row) -> float:
    return float(row["validation_accuracy"])
