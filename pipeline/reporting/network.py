"""The network that was found, drawn as boxes: its cells with their channels and resolution."""

from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from pipeline.reporting.findings import Findings
from pipeline.reporting.style import BLUE, GREEN, INK, MUTED, ORANGE

IN_A_ROW = 9
PITCH, ROW = (1.1, 1.35)
"""Distances in inches from box to box and from row to row."""
BOX = (0.86, 0.95)
COLORS = {"normal": BLUE, "reduction": ORANGE, "grown": GREEN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A part of the network. lines: its text, the name first; kind: kind of a cell, else ''."""

    lines: tuple[str, ...]
    kind: str = ""


def draw_network(findings: Findings) -> Figure:
    """Draw all parts in the order in which an image passes them."""
    parts = boxes(findings)
    columns = min(len(parts), IN_A_ROW)
    rows = -(-len(parts) // IN_A_ROW)
    width, height = columns * PITCH + 0.26, rows * ROW
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    for number, part in enumerate(parts):
        row, column = divmod(number, IN_A_ROW)
        x, y = 0.25 + column * PITCH, row * ROW + (ROW - BOX[1]) / 2
        color = COLORS.get(part.kind, MUTED)
        axes.add_patch(
            FancyBboxPatch(
                (x, y),
                *BOX,
                boxstyle="round,pad=0,rounding_size=0.08",
                facecolor=(color, 0.12),
                edgecolor=color,
                linewidth=1.5,
                linestyle="--" if part.kind == "grown" else "-",
            )
        )
        for line, text in enumerate(part.lines):
            axes.text(
                x + BOX[0] / 2,
                y + BOX[1] / 2 + (line - (len(part.lines) - 1) / 2) * 0.22,
                text,
                size=9 if line == 0 else 8,
                weight="bold" if line == 0 else "normal",
                color=INK if line == 0 else MUTED,
                ha="center",
                va="center_baseline",
            )
        if number:
            begin = x - (PITCH - BOX[0]) if column else x - 0.22
            axes.add_patch(
                FancyArrowPatch(
                    (begin, y + BOX[1] / 2),
                    (x, y + BOX[1] / 2),
                    arrowstyle="-|>",
                    mutation_scale=9,
                    color=MUTED,
                    shrinkA=1,
                    shrinkB=1,
                )
            )
    return figure


def boxes(findings: Findings) -> list[Box]:
    """Return the image, the stem, every cell, and the head."""
    blueprint, data = findings.blueprint, findings.dataset
    height, width = data.height, data.width
    after = blueprint.after_stem(height, width)
    found = [
        Box(lines=("image", f"{height} × {width}", _count(data.channels, "channel"))),
        Box(lines=("stem", f"{after[0]} × {after[1]}", f"{blueprint.stem_channels} channels")),
    ]
    for number, (plan, size) in enumerate(zip(blueprint.cells, resolutions(findings), strict=True)):
        kind = "grown" if plan.grown else plan.kind
        nodes = f"{blueprint.output_nodes} × " if blueprint.output_nodes > 1 else ""
        channels = f"{nodes}{plan.channels} ch."
        found.append(Box(lines=(f"cell {number}", kind, size, channels), kind=kind))
    return [*found, Box(lines=("classifier", "mean, linear", f"{blueprint.classes} classes"))]


def resolutions(findings: Findings) -> list[str]:
    """Return the resolution of the output of each cell, for example '8 × 8'."""
    data = findings.dataset
    height, width = findings.blueprint.after_stem(data.height, data.width)
    found = []
    for plan in findings.blueprint.cells:
        if plan.kind == "reduction":
            height, width = -(-height // 2), -(-width // 2)
        found.append(f"{height} × {width}")
    return found


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
