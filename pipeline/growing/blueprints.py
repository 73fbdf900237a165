"""Growth as data: the blueprint with one more cell, wider cells, or a node more in each."""

from dataclasses import replace
from math import ceil

from pipeline.space.blueprint import Blueprint, CellPlan


def position(blueprint: Blueprint) -> int:
    """Return the index of the next new cell: the end of the resolution with the fewest cells.

    Of equals it is the last. A resolution begins with a reduction cell and ends before the next.
    """
    starts = [0] + [
        i for i, cell in enumerate(blueprint.cells) if cell.kind == "reduction" and i > 0
    ]
    ends = [*starts[1:], len(blueprint.cells)]
    fewest = min(end - start for start, end in zip(starts, ends, strict=True))
    return max(end for start, end in zip(starts, ends, strict=True) if end - start == fewest)


def deepen(blueprint: Blueprint) -> Blueprint:
    """Return the blueprint with one more normal cell, which enters as s1 + gate * cell(s0, s1).

    It shares the architecture of the other normal cells if these share one; otherwise it has its
    own, the last.
    """
    index = position(blueprint)
    normal = {cell.architecture for cell in blueprint.cells if cell.kind == "normal"}
    architecture = normal.pop() if _shared(blueprint) and normal else blueprint.architectures
    cell = CellPlan(
        kind="normal",
        architecture=architecture,
        channels=blueprint.cells[index - 1].channels,
        grown=True,
    )
    return replace(blueprint, cells=(*blueprint.cells[:index], cell, *blueprint.cells[index:]))


def widen(blueprint: Blueprint, factor: float) -> Blueprint:
    """Return the blueprint with about `factor` times the channels in every cell, always even.

    The stem keeps its channels, unless the first cell reads them without adapting them.
    """
    cells = tuple(
        replace(cell, channels=2 * ceil(cell.channels * factor / 2)) for cell in blueprint.cells
    )
    stem = blueprint.stem_channels if blueprint.rules.adapts else cells[0].channels
    return replace(blueprint, cells=cells, stem_channels=stem)


def add_node(blueprint: Blueprint) -> Blueprint:
    """Return the blueprint with one more node in every cell, which its output then contains."""
    return replace(blueprint, nodes=blueprint.nodes + 1)


def _shared(blueprint: Blueprint) -> bool:
    return blueprint.architectures < len(blueprint.cells)
