"""The finals of the search: accuracy of every finalist, epoch by epoch, until it was out."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from pipeline.harness.records import Row
from pipeline.reporting.curves import short
from pipeline.reporting.findings import Findings
from pipeline.reporting.style import BLUE, INK, MUTED

# In inches. curves.py says why matplotlib's layouts are not used.
WIDTH, HEIGHT = 10.0, 3.2
LEFT, RIGHT, TOP, BOTTOM = 0.65, 2.3, 0.45, 0.5


def draw_finalists(findings: Findings) -> Figure:
    """Draw a line for each finalist; dotted lines separate the rounds, the winner is blue."""
    figure = Figure(figsize=(WIDTH, HEIGHT))
    size = (1 - (LEFT + RIGHT) / WIDTH, 1 - (TOP + BOTTOM) / HEIGHT)
    axes = figure.add_axes((LEFT / WIDTH, BOTTOM / HEIGHT, *size))
    lines = by_finalist(findings.finalists)
    places = _apart([rows[-1] for rows in lines.values()])
    for (number, rows), place in zip(lines.items(), places, strict=True):
        wins = number == findings.winner
        color = BLUE if wins else MUTED
        epochs = range(1, len(rows) + 1)
        accuracies = [float(row["validation_accuracy"]) for row in rows]
        axes.plot(
            epochs, accuracies, "o-", color=color, linewidth=2.2 if wins else 1.3, markersize=5,
            zorder=4 if wins else 3,
        )  # fmt: skip
        last = rows[-1]
        text = f"{number}: {accuracies[-1]:.1%}, {short(float(last['parameters']))} parameters"
        axes.annotate(
            text, (epochs[-1], accuracies[-1]), (1.015, place), xycoords="data",
            textcoords="axes fraction", color=INK if wins else MUTED, size=8.5, va="center",
            weight="bold" if wins else "normal",
            arrowprops={
                "arrowstyle": "-", "relpos": (0, 0.5), "color": color, "linewidth": 0.6,
            },
        )  # fmt: skip
    longest = max(map(len, lines.values()))
    for end in sorted({len(rows) for rows in lines.values()})[:-1]:
        axes.axvline(end + 0.5, color=MUTED, linewidth=0.9, linestyle=":")
    axes.set_title("Finalists: accuracy on validation images", size=9.5, color=INK)
    axes.set_xlim(0.5, longest + 0.5)
    axes.set_xlabel("epoch of the finalist")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=14))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    return figure


def by_finalist(rows: Sequence[Row]) -> dict[int, list[Row]]:
    """Return the rows of each finalist, by its number."""
    found: dict[int, list[Row]] = {}
    for row in rows:
        found.setdefault(int(row["finalist"]), []).append(row)
    return dict(sorted(found.items()))


def _apart(last: Sequence[Row]) -> list[float]:
    """Return evenly spaced heights of labels, fractions of the axis, in the order of accuracy."""
    accuracies = [float(row["validation_accuracy"]) for row in last]
    order = sorted(range(len(last)), key=lambda index: (accuracies[index], -index))
    step = 1 / max(len(last) - 1, 1)
    heights = [0.0] * len(last)
    for place, index in enumerate(order):
        heights[index] = place * step if len(last) > 1 else 0.5
    return heights
