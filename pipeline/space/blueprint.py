"""Blueprint: plain data from which a network, searched or grown, is built."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from pipeline.space.params import SupernetParams
from pipeline.space.registry import SPACES
from pipeline.space.space import NONE, SKIP, Space

Kind = Literal["normal", "reduction"]
MOST_NODES = 8
"""Of a cell, as in `NetworkParams`: the edges grow with their square."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellPlan:
    """One cell.

    kind: a reduction cell halves the resolution.
    architecture: the block of architecture parameters that decides this cell.
    channels: of each node.
    grown: entered later, as s1 + gate * cell(s0, s1) with the gate at 0 when it came.
    """

    kind: Kind
    architecture: int
    channels: int
    grown: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """What a network is built from: search space, cells, channels, classes, input, candidates."""

    space: str = "darts"
    image_channels: int
    classes: int
    nodes: int
    operations: tuple[str, ...]
    stem_channels: int
    cells: tuple[CellPlan, ...]

    def __post_init__(self) -> None:
        if not 1 <= self.nodes <= MOST_NODES:
            raise ValueError(f"nodes: expected 1 to {MOST_NODES}, got {self.nodes}")
        if self.space not in SPACES:
            raise ValueError(f"space: expected one of {', '.join(SPACES)}, got {self.space!r}")

    @property
    def rules(self) -> Space:
        """What the search space fixes."""
        return SPACES[self.space]

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """(source, node) of every edge, node by node; the first sources are the cell's inputs."""
        inputs = len(self.rules.inputs)
        return tuple(
            (source, node) for node in range(self.nodes) for source in range(node + inputs)
        )

    @property
    def output_nodes(self) -> int:
        """How many nodes' channels the output of a cell has."""
        return self.nodes if self.rules.concatenates else 1

    @property
    def architectures(self) -> int:
        """Number of blocks of architecture parameters."""
        return 1 + max(cell.architecture for cell in self.cells)

    @property
    def none(self) -> int:
        """Index of the operation that cuts its edge."""
        return self.operations.index(NONE)

    @property
    def skip(self) -> int:
        """Index of the skip connection."""
        return self.operations.index(SKIP)

    def architecture_name(self, architecture: int) -> str:
        """Return 'normal', 'reduction', or 'cell 3 (normal)' where cells do not share.

        'cell' where all share one.
        """
        if self.architectures == 1:
            return "cell"
        users = [i for i, cell in enumerate(self.cells) if cell.architecture == architecture]
        kind = self.cells[users[0]].kind
        same_kind = {cell.architecture for cell in self.cells if cell.kind == kind}
        return kind if len(same_kind) == 1 else f"cell {users[0]} ({kind})"

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` reads."""
        return asdict(self)


def from_dict(document: dict[str, Any]) -> Blueprint:
    """Read what `Blueprint.to_dict` wrote; raises KeyError, TypeError, ValueError."""
    fields = dict(document)
    cells = tuple(CellPlan(**cell) for cell in fields.pop("cells"))
    return Blueprint(operations=tuple(fields.pop("operations")), cells=cells, **fields)


def plan(params: SupernetParams, *, image_channels: int, classes: int) -> Blueprint:
    """Return the blueprint that search starts from: reductions at 1/3 and 2/3 of its cells.

    (Liu et al. 2019; Dong & Yang 2020, whose N is a third of the cells.)
    """
    reductions = {params.cells // 3, 2 * params.cells // 3}
    cells = []
    channels = params.channels
    for index in range(params.cells):
        kind: Kind = "reduction" if index in reductions else "normal"
        channels = channels * 2 if kind == "reduction" else channels
        shared = int(kind == "reduction" and SPACES[params.space].own_reduction)
        architecture = shared if params.share_logits else index
        cells.append(CellPlan(kind=kind, architecture=architecture, channels=channels))
    return Blueprint(
        space=params.space,
        image_channels=image_channels,
        classes=classes,
        nodes=params.nodes,
        operations=params.operations,
        stem_channels=params.stem_multiplier * params.channels,
        cells=tuple(cells),
    )
