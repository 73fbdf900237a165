"""The cells that were found, drawn as directed graphs from left to right.

Every source (an input or a node) has a lane of its own, which is free to its right. An edge runs
along its source's lane and changes to its node's lane just before its operation. So no edge crosses
an operation, whatever the genotype.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, PathPatch
from matplotlib.path import Path

from pipeline.reporting.chain import draw_chain
from pipeline.reporting.findings import Findings
from pipeline.reporting.shapes import (
    OPERATION,
    RADIUS,
    Point,
    box,
    canvas,
    circle,
    head,
    operation_box,
    wrap,
)
from pipeline.reporting.style import GREEN, INK, MUTED, PAPER
from pipeline.space.architecture import Architecture
from pipeline.space.blueprint import Blueprint
from pipeline.space.space import Space

# All lengths are inches.
BOX = (0.62, 0.46)
"""Size of an input or output of a cell."""
BEND = 0.6
"""Width in which an edge changes its lane."""
ARROW = 0.34
COLUMN = BEND + OPERATION[0] + ARROW + 2 * RADIUS
LANE = 0.38
"""Height of the lane of one operation."""
GATE = 1.15
"""Width of a grown cell's gate, between its concatenation and its output."""
MARGIN = 0.25
TITLE, SUBTITLE = 0.46, 0.18
"""Heights of the title and of each line below it."""
WIDEST = 11.0
"""Largest width of a row of cells; a single cell may be wider."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One drawing: an architecture, and the numbers of the cells that have it.

    kinds: kinds of these cells, each once.
    """

    space: Space
    architecture: Architecture
    kinds: tuple[str, ...]
    grown: bool
    cells: tuple[int, ...]

    @property
    def columns(self) -> int:
        """Number of nodes on the longest path through the cell."""
        return max(depths(self.architecture, len(self.space.inputs)))

    @property
    def width(self) -> float:
        """Of the drawing, without margins."""
        return BOX[0] + self.columns * COLUMN + BEND + BOX[0] + (GATE + BOX[0] if self.grown else 0)

    @property
    def height(self) -> float:
        """Of the drawing, without margins."""
        return self.header + sum(_lanes(self))

    @property
    def header(self) -> float:
        """Height of the title and the lines below it."""
        return TITLE + SUBTITLE * len(self.subtitle)

    @property
    def subtitle(self) -> list[str]:
        """The lines below the title: which cells of the network these are, and what they do."""
        numbers = ", ".join(map(str, self.cells))
        of = f"{'cells' if len(self.cells) > 1 else 'cell'} {numbers} of the network"
        return wrap(f"{of}; {_purpose(self)}", 9, self.width)


def draw_cells(findings: Findings) -> Figure:
    """Draw each architecture of the network, once for its initial and once for its grown cells.

    The layers of a chain are drawn in their order instead (see `chain.py`).
    """
    if findings.blueprint.rules.is_chain:
        return draw_chain(findings)
    rows = _rows(panels(findings))
    width = max(sum(panel.width + 2 * MARGIN for panel in row) for row in rows)
    height = sum(max(panel.height for panel in row) + 2 * MARGIN for row in rows)
    figure, axes = canvas(width, height)
    top = 0.0
    for row in rows:
        left = 0.0
        for panel in row:
            _draw(axes, panel, left + MARGIN, top + MARGIN)
            left += panel.width + 2 * MARGIN
        top += max(panel.height for panel in row) + 2 * MARGIN
    return figure


def panels(findings: Findings) -> list[Panel]:
    """Return the panels to draw, in the order of the cells, with grown cells last."""
    blueprint: Blueprint = findings.blueprint
    users: dict[tuple[bool, int], list[int]] = {}
    for number, plan in enumerate(blueprint.cells):
        users.setdefault((plan.grown, plan.architecture), []).append(number)
    return [
        Panel(
            space=blueprint.rules,
            architecture=findings.genotype.architectures[architecture],
            kinds=tuple(dict.fromkeys(blueprint.cells[cell].kind for cell in cells)),
            grown=grown,
            cells=tuple(cells),
        )
        for (grown, architecture), cells in sorted(users.items())
    ]


def depths(architecture: Architecture, inputs: int) -> list[int]:
    """Return for each node the number of nodes on the longest path to it, itself included.

    inputs: number of sources that are inputs of the cell.
    """
    found: list[int] = []
    for genes in architecture.nodes:
        before = (found[gene.source - inputs] for gene in genes if gene.source >= inputs)
        found.append(1 + max(before, default=0))
    return found


def _rows(all_panels: Sequence[Panel]) -> list[list[Panel]]:
    rows: list[list[Panel]] = [[]]
    for panel in all_panels:
        if rows[-1] and sum(p.width + 2 * MARGIN for p in (*rows[-1], panel)) > WIDEST:
            rows.append([])
        rows[-1].append(panel)
    return rows


def _lanes(panel: Panel) -> list[float]:
    """Return the heights of the lanes: the first input, the nodes, the other inputs."""
    nodes = [0.22 + LANE * max(1, len(genes)) for genes in panel.architecture.nodes]
    entry = BOX[1] + 0.08
    return [entry, *nodes, *(entry for _ in panel.space.inputs[1:])]


def _draw(axes: Axes, panel: Panel, left: float, top: float) -> None:
    """Draw a panel with its upper left corner at (`left`, `top`)."""
    _title(axes, panel, left, top)
    heights, inputs = _lanes(panel), len(panel.space.inputs)
    centres = [
        top + panel.header + sum(heights[:i]) + height / 2 for i, height in enumerate(heights)
    ]
    nodes = centres[1 : 1 + len(panel.architecture.nodes)]
    entries = [centres[0], *centres[1 + len(nodes) :]]
    lanes = [*entries, *nodes]
    ends = [(left + BOX[0], y) for y in entries]  # where each source's lane begins
    for node, depth in enumerate(depths(panel.architecture, inputs)):
        ends.append((left + BOX[0] + depth * COLUMN, nodes[node]))
    output = (left + BOX[0] + panel.columns * COLUMN + BEND, (centres[0] + centres[-1]) / 2)

    for begin in ends[inputs:] if panel.space.concatenates else ends[-1:]:
        _edge(axes, begin, output, MUTED, 1.0)
    for node, genes in enumerate(panel.architecture.nodes):
        right, y = ends[node + inputs]
        downwards = sorted(genes, key=lambda gene: lanes[gene.source])
        for number, gene in enumerate(downwards):
            place = (
                right - 2 * RADIUS - ARROW - OPERATION[0],
                y + (number - (len(genes) - 1) / 2) * LANE,
            )
            color = panel.space.operation(gene.operation).color
            _edge(axes, ends[gene.source], place, color, 1.9)
            _operation(axes, gene.operation, place, (right - 2 * RADIUS, y), color)
        _node(axes, str(node), (right - RADIUS, y))
    for one, y in zip(panel.space.inputs, entries, strict=True):
        box(axes, one.label.replace(" ", "\n"), (left, y), BOX, MUTED)
    result = panel.space.joins if panel.grown else "cell k"
    box(axes, result.replace(" ", "\n"), output, BOX, INK)
    if panel.grown:
        _gate(axes, output, ends[inputs - 1])


def _title(axes: Axes, panel: Panel, left: float, top: float) -> None:
    kind = panel.kinds[0] if len(panel.kinds) == 1 else ""
    words = [*(["grown"] if panel.grown else []), *([kind] if kind else []), "cell"]
    axes.text(left, top + 0.12, " ".join(words).capitalize(), weight="bold", size=12, va="center")
    for number, text in enumerate(panel.subtitle):
        y = top + 0.36 + number * SUBTITLE
        axes.text(left, y, text, size=9, color=MUTED, va="center")


def _purpose(panel: Panel) -> str:
    if panel.grown:
        return "refines the output of cell k−1"
    if not panel.space.adapts and "reduction" in panel.kinds:
        return "where the resolution halves, a residual block stands before it"
    if len(panel.kinds) > 1:
        return "some of them halve the resolution"
    return f"{'halves' if 'reduction' in panel.kinds else 'keeps'} the resolution"


def _edge(axes: Axes, begin: Point, end: Point, color: str, width: float) -> None:
    """Draw an edge along the lane of `begin`, with a bend to the height of `end` just before it."""
    bend = max(begin[0], end[0] - BEND)
    middle = (bend + end[0]) / 2
    path = Path(
        [begin, (bend, begin[1]), (middle, begin[1]), (middle, end[1]), end],
        [Path.MOVETO, Path.LINETO, Path.CURVE4, Path.CURVE4, Path.CURVE4],
    )
    axes.add_patch(PathPatch(path, fill=False, edgecolor=color, linewidth=width, zorder=1))
    head(axes, end, color)


def _operation(axes: Axes, name: str, place: Point, node: Point, color: str) -> None:
    """Draw an operation, the middle of its left side at `place`, and an arrow to its node."""
    x, y = place
    _edge(axes, (x + OPERATION[0], y), node, color, 1.9)
    operation_box(axes, name, place, color)


def _node(axes: Axes, name: str, centre: Point) -> None:
    axes.add_patch(Circle(centre, RADIUS, facecolor=PAPER, edgecolor=INK, linewidth=1.4, zorder=3))
    axes.text(*centre, name, size=9.5, weight="bold", ha="center", va="center_baseline", zorder=4)


def _gate(axes: Axes, output: Point, previous: Point) -> None:
    """Draw the gate of a grown cell: its output times a gate that began at 0, plus its input."""
    begin, y = output[0] + BOX[0], output[1]
    gate, plus, end = begin + 0.42, begin + 0.9, begin + GATE
    _edge(axes, (begin, y), (gate - RADIUS, y), GREEN, 1.9)
    _edge(axes, (gate, y), (plus - RADIUS, y), GREEN, 1.9)
    _edge(axes, (plus, y), (end, y), GREEN, 1.9)
    path = Path(
        [previous, (plus - 0.3, previous[1]), (plus, previous[1]), (plus, y)],
        [Path.MOVETO, Path.LINETO, Path.CURVE3, Path.CURVE3],
    )
    axes.add_patch(PathPatch(path, fill=False, edgecolor=MUTED, linewidth=1.0, zorder=1))
    for x, sign in ((gate, "×g"), (plus, "+")):
        circle(axes, sign, (x, y), GREEN)
    box(axes, "refined\nk−1", (end, y), BOX, INK)
