"""The picture of a sweep: what each network costs and how good it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from pipeline.harness.files import write_atomically
from pipeline.reporting.style import BLUE, INK, MUTED, Picture, drawing, render

# In inches. reporting/curves.py says why matplotlib's layouts are not used.
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 7.6, 4.2, 0.8, 1.1, 0.45, 0.55
WORDS = {
    "parameters": "parameters",
    "mflops": "million multiply-adds per image",
    "kilobytes": "kilobytes of model.onnx",
    "milliseconds": "milliseconds per image on one thread, estimated",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A network of a sweep. value: its objective."""

    label: str
    cost: float
    value: float


def write_tradeoff(
    path: Path, points: Sequence[Point], *, cost: str, objective: str, maximize: bool
) -> Picture:
    """Write the picture to `path`, as SVG, and return it."""
    with drawing():
        figure = draw_tradeoff(points, cost=cost, objective=objective, maximize=maximize)
        picture = render(figure, "Cost and objective of every network of a sweep")
    write_atomically(path, picture.svg_file)
    return picture


def draw_tradeoff(points: Sequence[Point], *, cost: str, objective: str, maximize: bool) -> Figure:
    """Draw every network as a dot; a line joins those that none beats at no higher cost."""
    best = front(points, maximize=maximize)
    figure = Figure(figsize=(WIDTH, HEIGHT))
    size = (1 - (LEFT + RIGHT) / WIDTH, 1 - (TOP + BOTTOM) / HEIGHT)
    axes = figure.add_axes((LEFT / WIDTH, BOTTOM / HEIGHT, *size))
    axes.plot(
        [one.cost for one in best], [one.value for one in best], color=BLUE, linewidth=1.4,
        drawstyle="steps-post",
    )  # fmt: skip
    for one in points:
        color, ink = (BLUE, INK) if one in best else (MUTED, MUTED)
        axes.plot([one.cost], [one.value], "o", color=color, markersize=6, zorder=4)
        axes.annotate(
            one.label,
            (one.cost, one.value),
            (6, 5),
            textcoords="offset points",
            size=8.5,
            color=ink,
        )
    axes.set_title("Networks that none beats at no higher cost are joined", size=9.5, color=INK)
    axes.set_xlabel(WORDS[cost])
    axes.set_ylabel(objective)
    axes.margins(x=0.08, y=0.12)
    return figure


def front(points: Sequence[Point], *, maximize: bool) -> list[Point]:
    """Return the networks that none beats at no higher cost, the cheapest first."""
    sign = 1 if maximize else -1
    kept: list[Point] = []
    for one in sorted(points, key=lambda one: (one.cost, -sign * one.value)):
        if not kept or sign * one.value > sign * kept[-1].value:
            kept.append(one)
    return kept
