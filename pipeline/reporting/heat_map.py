"""A heat map of the edges: what each of them preferred, epoch by epoch, through search and growth.

Its rows are the edges of the network that was found. An edge that growth added begins later.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from pipeline.reporting.curves import label_epochs, mark_growths, mark_phases
from pipeline.reporting.findings import SEARCHING_PHASES, Findings
from pipeline.reporting.hovering import hover_area
from pipeline.reporting.preferences import Edge
from pipeline.reporting.shapes import text_width
from pipeline.reporting.style import INK, MUTED, PAPER

# In inches. curves.py says why matplotlib's layouts are not used.
WIDTH, LEFT, RIGHT, TOP, BOTTOM = 10.0, 1.35, 1.75, 0.6, 0.55
ROW, GAP = 0.2, 0.42
"""Heights of an edge, and of what is between two architectures."""
LINE, SWATCH, MARGIN = 0.22, 0.13, 0.3
"""Height of a line of the legend, side of its squares, and free width on its left."""
SIZE = 8.0
"""Size of all names, in points."""
PALEST, DEEPEST = 0.2, 0.95
"""Opacity where all operations are alike, and where one has all the weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """The edges of an architecture, or of a whole chain. edges: the name of each, in order."""

    title: str
    edges: dict[Edge, str]


def draw_edges(findings: Findings) -> Figure:
    """Draw every edge as a row: its likeliest operation's colour, deeper the larger its weight."""
    found, legend = panels(findings), list(_legend(findings))
    heights = [ROW * len(panel.edges) for panel in found]
    below = BOTTOM + LINE * (1 + max(line for line, _, _ in legend))
    height = TOP + sum(heights) + GAP * (len(found) - 1) + below
    figure = Figure(figsize=(WIDTH, height))
    top = height - TOP
    for panel, own in zip(found, heights, strict=True):
        size = (1 - (LEFT + RIGHT) / WIDTH, own / height)
        axes = figure.add_axes((LEFT / WIDTH, (top - own) / height, *size))
        axes.set_title(panel.title, size=9.5, color=INK)
        _draw(axes, findings, panel)
        mark_phases(axes, findings, SEARCHING_PHASES, named=panel is found[0], shaded=False)
        mark_growths(axes, findings.growths, named=False)
        if panel is found[-1]:
            label_epochs(axes)
        else:
            axes.tick_params(labelbottom=False)
        top -= own + GAP
    whole = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, height))
    whole.set_axis_off()
    for line, x, name in legend:
        y = below - BOTTOM - LINE * (line + 0.5)
        color = findings.blueprint.rules.operation(name).color
        whole.add_patch(Rectangle((x, y - SWATCH / 2), SWATCH, SWATCH, color=color, linewidth=0))
        whole.text(x + 1.5 * SWATCH, y, name, size=SIZE, color=MUTED, va="center_baseline")
    return figure


def panels(findings: Findings) -> list[Panel]:
    """Return the architectures of the network with their edges, named as in its cells' picture."""
    blueprint = findings.blueprint
    if blueprint.rules.is_chain:
        layers = enumerate(blueprint.cells)
        cells = {(cell.architecture, 0, 0): f"cell {number}" for number, cell in layers}
        return [Panel(title="Operation of each cell", edges=cells)]
    inputs = blueprint.rules.inputs
    sources = [
        *(one.label for one in inputs),
        *(f"node {number}" for number in range(blueprint.nodes)),
    ]
    found = []
    for number in dict.fromkeys(cell.architecture for cell in blueprint.cells):
        name = blueprint.architecture_name(number)
        edges = {
            (number, source, node): f"{sources[source]} → node {node}"
            for source, node in blueprint.edges
        }
        title = name if name.startswith("cell") else f"{name} cell"
        found.append(Panel(title=title.capitalize(), edges=edges))
    return found


def colors(findings: Findings, panel: Panel) -> NDArray[np.float64]:
    """Return the colours of a panel, (edges, epochs, 4); transparent where an edge was not yet."""
    operations, space = findings.blueprint.operations, findings.blueprint.rules
    rows = {edge: row for row, edge in enumerate(panel.edges)}
    first = int(findings.histories[SEARCHING_PHASES[0]][0]["epoch"])
    epochs = sum(len(findings.histories[phase]) for phase in SEARCHING_PHASES)
    found = np.zeros((len(rows), epochs, 4))
    for one in findings.preferences:
        if one.edge in rows:
            weight = max(one.weights)
            color = space.operation(operations[one.weights.index(weight)]).color
            sure = (weight - 1 / len(operations)) / (1 - 1 / len(operations))
            opacity = PALEST + (DEEPEST - PALEST) * max(0.0, sure)
            found[rows[one.edge], one.epoch - first] = (*to_rgb(color), opacity)
    return found


def _draw(axes: Axes, findings: Findings, panel: Panel) -> None:
    first = float(findings.histories[SEARCHING_PHASES[0]][0]["epoch"])
    image, count = colors(findings, panel), len(panel.edges)
    extent = (first - 0.5, first - 0.5 + image.shape[1], count - 0.5, -0.5)
    axes.imshow(image, extent=extent, aspect="auto", interpolation="none")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_yticks(range(count), list(panel.edges.values()), size=SIZE)
    for row in range(1, count):
        axes.axhline(row - 0.5, color=PAPER, linewidth=1.5)
    _hover(axes, findings, panel)
    last = {one.edge: one.weights for one in findings.preferences}
    kept = _kept(findings)
    for row, edge in enumerate(panel.edges):
        if edge not in last:
            continue
        weight = max(last[edge])
        name = findings.blueprint.operations[last[edge].index(weight)]
        taken = (edge, name) in kept
        axes.annotate(
            f"{name} {weight:.0%}", (1, row), (6, 0), xycoords=axes.get_yaxis_transform(),
            textcoords="offset points", size=SIZE, va="center_baseline",
            color=INK if taken else MUTED, weight="bold" if taken else "normal",
        )  # fmt: skip


def _hover(axes: Axes, findings: Findings, panel: Panel) -> None:
    """Tell of each run of epochs in which an edge preferred the same operation."""
    operations = findings.blueprint.operations
    for row, (edge, name) in enumerate(panel.edges.items()):
        own = [one for one in findings.preferences if one.edge == edge]
        for likeliest, group in groupby(own, lambda one: one.weights.index(max(one.weights))):
            run = list(group)
            first, last = run[0], run[-1]
            area = (first.epoch - 0.5, row - 0.5), (last.epoch - first.epoch + 1, 1)
            weights = f"{max(first.weights):.0%} to {max(last.weights):.0%}"
            lines = [f"{name}, epochs {first.epoch} to {last.epoch}"]
            hover_area(axes, *area, [*lines, f"{operations[likeliest]}, {weights}"])


def _kept(findings: Findings) -> set[tuple[Edge, str]]:
    """Return the edges of the network that was found, each with its operation."""
    return {
        ((number, gene.source, node), gene.operation)
        for number, architecture in enumerate(findings.genotype.architectures)
        for node, genes in enumerate(architecture.nodes)
        for gene in genes
    }


def _legend(findings: Findings) -> Iterator[tuple[int, float, str]]:
    """Yield the line, the left end and the name of each operation."""
    line, left = 0, MARGIN
    for name in findings.blueprint.operations:
        width = 1.5 * SWATCH + text_width(name, SIZE) + 0.2
        if left + width > WIDTH and left > MARGIN:
            line, left = line + 1, MARGIN
        yield line, left, name
        left += width
