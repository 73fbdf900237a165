"""Shapes and texts that the pictures of an architecture share. All lengths are inches.

A picture places them itself: matplotlib's own layouts differ in their last bits between runs.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import hypot

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path
from matplotlib.textpath import text_to_path

from pipeline.reporting.style import PAPER

OPERATION = (1.28, 0.29)
"""Size of the box of an operation."""
RADIUS = 0.17
"""Radius of a circle with a text."""
HEAD = (0.1, 0.045)
"""Length and half the width of an arrow's head."""
CORNER = 0.14
"""Radius of the corners of a line."""

Point = tuple[float, float]


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Return an empty figure and axes that cover it, in inches from its upper left corner."""
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    return figure, axes


def text_width(text: str, size: float, weight: str = "normal") -> float:
    """Return the width of a line of text; size: of the font, in points."""
    font = FontProperties(size=size, weight=weight)
    points, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(points) / 72


def wrap(text: str, size: float, width: float) -> list[str]:
    """Break a text between words into lines of at most `width`; a longer word is not broken."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else ""
        if lines and text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def line(axes: Axes, points: Sequence[Point], color: str, width: float) -> None:
    """Draw a line through points, with round corners."""
    vertices, codes = [points[0]], [Path.MOVETO]
    for (before, corner), (_, after) in pairwise(pairwise(points)):
        vertices += [_towards(corner, before), corner, _towards(corner, after)]
        codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
    path = Path([*vertices, points[-1]], [*codes, Path.LINETO])
    axes.add_patch(PathPatch(path, fill=False, edgecolor=color, linewidth=width, zorder=1))


def head(axes: Axes, tip: Point, color: str, direction: Point = (1, 0)) -> None:
    """Draw the head of an arrow; direction: where it points, of length 1."""
    (x, y), (right, down), (length, half) = tip, direction, HEAD
    back = (x - length * right, y - length * down)
    corners = [
        (back[0] + half * down, back[1] - half * right),
        tip,
        (back[0] - half * down, back[1] + half * right),
    ]
    axes.add_patch(Polygon(corners, facecolor=color, edgecolor=color, linewidth=0.8, zorder=2))


def operation_box(axes: Axes, name: str, place: Point, color: str) -> None:
    """Draw an operation, with the middle of its left side at `place`."""
    x, y = place
    corner = (x, y - OPERATION[1] / 2)
    axes.add_patch(rounded(corner, OPERATION, color=color, line=1.5, radius=0.14))
    axes.text(x + OPERATION[0] / 2, y, name, size=9, ha="center", va="center_baseline", zorder=4)


def box(axes: Axes, name: str, place: Point, size: tuple[float, float], color: str) -> None:
    """Draw a part that is no operation, with the middle of its left side at `place`.

    name: its lines, separated by line breaks.
    """
    x, y = place
    axes.add_patch(rounded((x, y - size[1] / 2), size, color=color, line=1.4, radius=0.07))
    axes.text(
        x + size[0] / 2,
        y,
        name,
        size=8.5,
        ha="center",
        va="center",
        linespacing=1.15,
        zorder=4,
    )


def circle(axes: Axes, sign: str, centre: Point, color: str, radius: float = RADIUS) -> None:
    """Draw a circle with a sign in it, for what is computed there."""
    axes.add_patch(
        Circle(centre, radius, facecolor=PAPER, edgecolor=color, linewidth=1.5, zorder=3)
    )
    axes.text(*centre, sign, size=9, ha="center", va="center_baseline", zorder=4)


def rounded(
    corner: Point, size: tuple[float, float], *, color: str, line: float, radius: float
) -> FancyBboxPatch:
    """Return a box with round corners; corner: the upper left one, line: width in points."""
    return FancyBboxPatch(
        corner,
        *size,
        boxstyle=f"round,pad=0,rounding_size={radius}",
        edgecolor=color,
        facecolor=PAPER,
        linewidth=line,
        zorder=3,
    )


def _towards(corner: Point, other: Point) -> Point:
    """Return the point where the curve around a corner begins."""
    x, y = other[0] - corner[0], other[1] - corner[1]
    part = min(CORNER / hypot(x, y), 0.5)
    return corner[0] + part * x, corner[1] + part * y
