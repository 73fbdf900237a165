"""Words that a browser shows where the pointer rests on a part of a picture.

matplotlib writes an artist's gid as the id of its group in the SVG; where it begins with `HOVER`,
`style.render` makes it a title.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pipeline.harness.records import Row
from pipeline.reporting.findings import Findings
from pipeline.reporting.histories import SHARE
from pipeline.reporting.style import HOVER, INK

COLUMNS = {
    "train_accuracy": ("training accuracy", ".1%"),
    "validation_accuracy": ("validation accuracy", ".1%"),
    "genotype_accuracy": ("that of the most likely genotype", ".1%"),
    "train_loss": ("training loss", ".3f"),
    "validation_loss": ("validation loss", ".3f"),
    "temperature": ("temperature", ".3g"),
    "entropy": ("entropy", ".2f"),
    "cells": ("cells", ".0f"),
    "channels": ("channels", ".0f"),
    "parameters": ("parameters", ",.0f"),
}
"""Columns of a history that are told, with their words and the format of a value."""

Tell = Callable[[Row], Iterable[str]]
"""Function of an epoch's row: the lines about it."""


def hover_area(
    axes: Axes, corner: tuple[float, float], size: tuple[float, float], lines: Iterable[str]
) -> None:
    """Show lines where the pointer rests on a rectangle, which is not seen; in data coordinates."""
    area = Rectangle(corner, *size, facecolor=INK, alpha=0, linewidth=0, zorder=10)
    area.set_gid(HOVER + "\n".join(lines))
    axes.add_patch(area)


def hover_epochs(figure: Figure, findings: Findings, phases: Sequence[str], tell: Tell) -> None:
    """Tell of each epoch, over the whole height of the figure's axes."""
    highest, lowest = figure.axes[0], figure.axes[-1]
    top, bottom = highest.get_position(), lowest.get_position()
    place = (top.x0, bottom.y0, top.width, top.y1 - bottom.y0)
    above = figure.add_axes(place, xlim=highest.get_xlim(), ylim=(0, 1))
    above.set_axis_off()
    for phase in phases:
        for row in findings.histories[phase]:
            epoch = float(row["epoch"])
            hover_area(above, (epoch - 0.5, 0), (1, 1), [f"epoch {epoch:.0f}, {phase}", *tell(row)])


def tell_values(row: Row) -> Iterator[str]:
    """Yield a line for each of `COLUMNS` that an epoch has."""
    for column, (words, form) in COLUMNS.items():
        if column in row:
            yield f"{words} {float(row[column]):{form}}"


def tell_shares(row: Row) -> Iterator[str]:
    """Yield a line for the mean weight of each operation, the largest first."""
    found = {name: float(value) for name, value in row.items() if name.startswith(SHARE)}
    for name, share in sorted(found.items(), key=lambda one: -one[1]):
        yield f"{name.removeprefix(SHARE)} {share:.0%}"
