"""The found network among its references: accuracies on the test images, with their intervals."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from pipeline.reporting.findings import Findings
from pipeline.reporting.style import BLUE, INK, MUTED, ORANGE

# In inches: narrow, with each title above its line, so that a phone shows all of it. curves.py says
# why matplotlib's layouts are not used.
WIDTH, LEFT, RIGHT, TOP, BOTTOM, ROW = 5.4, 0.2, 0.75, 0.1, 0.5, 0.46
RISE = 0.32
"""Distance from a line to its title, as a fraction of a row."""
NARROWEST = 0.1
"""Smallest range of the axis, as a fraction of 1, so that small differences look small."""
FOUND = "the found network"

Row = tuple[str, float, float, float]
"""Title, accuracy, and the ends of its interval."""


def draw_references(findings: Findings) -> Figure:
    """Draw each accuracy as a dot on its 95 % interval, the best on top."""
    metrics = findings.metrics
    rows: list[Row] = [
        (one.title, one.test_accuracy, one.low, one.high) for one in findings.references.compared
    ]
    names = ("test_accuracy", "test_accuracy_low", "test_accuracy_high")
    accuracy, low, high = (metrics[name] for name in names)
    rows.append((FOUND, accuracy, low, high))
    rows.sort(key=lambda row: row[1])  # among equals, the found network stays last, on top
    height = TOP + ROW * len(rows) + BOTTOM
    figure = Figure(figsize=(WIDTH, height))
    size = ((WIDTH - LEFT - RIGHT) / WIDTH, ROW * len(rows) / height)
    axes = figure.add_axes((LEFT / WIDTH, BOTTOM / height, *size))
    start = _start(rows)
    for place, row in enumerate(rows):
        _draw(axes, place, row, start)
    axes.set_xlim(start, 1.0)
    axes.set_ylim(-0.4, len(rows) - 0.4)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(visible=True, axis="x")
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10)))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlabel("accuracy on the test images, with its 95 % interval", color=MUTED)
    return figure


def _draw(axes: Axes, place: int, row: Row, start: float) -> None:
    title, accuracy, low, high = row
    color, weight = (BLUE, "bold") if title == FOUND else (ORANGE, "normal")
    sideways = axes.get_yaxis_transform()
    axes.text(0, place + RISE, title, transform=sideways, va="center", size=9, weight=weight)
    if accuracy < start:
        axes.plot([start], [place], "<", color=color, markersize=6, clip_on=False)
    else:
        line = [max(low, start), high]
        axes.plot(line, [place, place], color=color, alpha=0.45, linewidth=4)
        axes.plot([accuracy], [place], "o", color=color, markersize=7, clip_on=False)
    axes.text(
        1.04, place, f"{accuracy:.1%}", transform=sideways, va="center", size=9, color=INK,
        weight=weight,
    )  # fmt: skip


def _start(rows: list[Row]) -> float:
    """Return the start of the axis; accuracies below half of the best become marks at its edge."""
    best = max(accuracy for _, accuracy, _, _ in rows)
    lowest = min(low for _, accuracy, low, _ in rows if accuracy >= best / 2)
    return max(0.0, min(lowest - 0.01, 1 - NARROWEST, best - NARROWEST / 2))
