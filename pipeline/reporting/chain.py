"""A network whose cells are layers in a chain, drawn in rows from left to right.

One line, the trunk, leads through the whole network. The operation of a layer is on a branch below
it, and a circle shows where both are added. A layer that keeps its input has no branch. A block
that halves the resolution is on the trunk itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from pipeline.reporting.findings import Findings
from pipeline.reporting.network import resolutions
from pipeline.reporting.shapes import (
    OPERATION,
    Point,
    box,
    canvas,
    circle,
    head,
    line,
    operation_box,
    text_width,
)
from pipeline.reporting.style import GREEN, INK, MUTED
from pipeline.space.space import NONE

# All lengths are inches.
WIDEST = 11.0
"""Largest width of a picture, unless a single layer is wider."""
MARGIN = 0.34
"""Free width at both sides, in which the trunk turns to the next row."""
ROW, TRUNK, BOTTOM, TURN = 1.54, 0.62, 1.3, 1.42
"""Height of a row; depths in it of the trunk, of what is lowest, and of the way to the next row."""
LANE = 0.42
"""Distance from the trunk to the branches."""
FORK, JOIN = 0.28, 0.36
"""Length of a branch before its operation, and from there to the circle on the trunk."""
PLUS = 0.11
"""Radius of the circle on the trunk."""
BRANCH = FORK + OPERATION[0] + JOIN + PLUS
"""Width of a branch with its circle."""
SPACE = 0.18
"""Free width on both sides of a part."""
BLOCK = (0.86, 0.46)
"""Size of a part on the trunk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A part on the trunk. name: its text, with line breaks."""

    name: str

    @property
    def width(self) -> float:
        """Of the part with its free width."""
        return BLOCK[0] + 2 * SPACE

    def draw(self, axes: Axes, left: float, trunk: float) -> None:
        """Draw the part; left: where its free width begins, trunk: depth of the trunk."""
        head(axes, (left + SPACE, trunk), MUTED)
        box(axes, self.name, (left + SPACE, trunk), BLOCK, MUTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A cell.

    name: of the cell. size: text on resolution and channels. operation: its name. color: of its
    branch; None if the layer keeps its input.
    """

    name: str
    size: str
    operation: str
    color: str | None
    grown: bool

    @property
    def width(self) -> float:
        """Of the part with its free width."""
        own = BRANCH if self.color else text_width(self.operation, 8)
        above = max(text_width(self.name, 9, "bold"), text_width(self.size, 8))
        return max(own, above) + 2 * SPACE

    def draw(self, axes: Axes, left: float, trunk: float) -> None:
        """Draw the part; left: where its free width begins, trunk: depth of the trunk."""
        x = left + self.width / 2
        if self.grown:
            _frame(axes, (left, trunk), self.width, BOTTOM - TRUNK if self.color else 0.3)
        axes.text(x, trunk - 0.39, self.name, size=9, weight="bold", ha="center", va="center")
        axes.text(x, trunk - 0.22, self.size, size=8, color=MUTED, ha="center", va="center")
        if self.color is None:
            below = trunk + 0.14
            axes.text(x, below, self.operation, size=8, color=MUTED, ha="center", va="center")
            return
        gate = _branch(axes, self.operation, (x - BRANCH / 2, trunk), self.color)
        if self.grown:
            circle(axes, "×g", gate, GREEN)


Part = Block | Layer
Group = tuple[Part, ...]
"""Parts that stay in one row."""


def draw_chain(findings: Findings) -> Figure:
    """Draw every layer, from the stem to the classifier."""
    rows = _rows(groups(findings))
    widths = [sum(part.width for part in row) for row in rows]
    figure, axes = canvas(max(widths) + 2 * MARGIN, ROW * (len(rows) - 1) + BOTTOM + 0.12)
    line(axes, _trunk(widths), MUTED, 1.5)
    for number, row in enumerate(rows):
        left = MARGIN
        for part in row:
            part.draw(axes, left, number * ROW + TRUNK)
            left += part.width
    return figure


def groups(findings: Findings) -> list[Group]:
    """Return the layers in order, each with the blocks next to it."""
    blueprint, space = findings.blueprint, findings.blueprint.rules
    found: list[Group] = []
    for number, (plan, size) in enumerate(zip(blueprint.cells, resolutions(findings), strict=True)):
        [genes] = findings.genotype.architectures[plan.architecture].nodes
        operation = space.operation(genes[0].operation if genes else NONE)
        layer = Layer(
            name=f"cell {number}",
            size=f"{size}, {plan.channels} ch.",
            operation=operation.name,
            color=None if operation.layers is None else operation.color,
            grown=plan.grown,
        )
        halves = plan.kind == "reduction"
        found.append((Block(name="basic block\nstride 2"), layer) if halves else (layer,))
    found[0] = (Block(name="stem"), *found[0])
    found[-1] = (*found[-1], Block(name="classifier"))
    return found


def _rows(all_groups: Sequence[Group]) -> list[Group]:
    """Return the parts of each row; a row is as long as WIDEST allows."""
    rows: list[Group] = [()]
    for group in all_groups:
        if rows[-1] and sum(part.width for part in rows[-1] + group) + 2 * MARGIN > WIDEST:
            rows.append(())
        rows[-1] += group
    return rows


def _trunk(widths: Sequence[float]) -> list[Point]:
    """Return the corners of the line through all rows; widths: of the rows."""
    points: list[Point] = [(MARGIN / 2, TRUNK)]
    for row, width in enumerate(widths[:-1]):
        right, top = 1.5 * MARGIN + width, row * ROW
        points += [(right, top + TRUNK), (right, top + TURN)]
        points += [(MARGIN / 2, top + TURN), (MARGIN / 2, top + ROW + TRUNK)]
    return [*points, (MARGIN + widths[-1] - SPACE, (len(widths) - 1) * ROW + TRUNK)]


def _branch(axes: Axes, name: str, begin: Point, color: str) -> Point:
    """Draw a branch from `begin` to its circle on the trunk; return the place below the circle."""
    x, trunk = begin
    lane, place = trunk + LANE, x + FORK
    end = place + OPERATION[0] + JOIN
    line(axes, [begin, (x, lane), (place, lane)], color, 1.9)
    head(axes, (place, lane), color)
    operation_box(axes, name, (place, lane), color)
    line(axes, [(place + OPERATION[0], lane), (end, lane), (end, trunk + PLUS)], color, 1.9)
    head(axes, (end, trunk + PLUS), color, (0, -1))
    head(axes, (end - PLUS, trunk), MUTED)
    circle(axes, "+", (end, trunk), INK, PLUS)
    return end, lane


def _frame(axes: Axes, begin: Point, width: float, below: float) -> None:
    """Draw the dashed frame of a grown cell; below: how far it reaches below the trunk."""
    left, trunk = begin
    axes.add_patch(
        FancyBboxPatch(
            (left + 0.04, trunk - 0.53),
            width - 0.08,
            0.53 + below,
            boxstyle="round,pad=0,rounding_size=0.08",
            facecolor=(GREEN, 0.12),
            edgecolor=GREEN,
            linewidth=1.5,
            linestyle="--",
            zorder=0,
        )
    )
