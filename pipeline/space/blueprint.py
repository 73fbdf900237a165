"""Blueprint: plain data from which a searched or grown network is built."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from pipeline.space.params import MOST_NODES, SupernetParams
from pipeline.space.registry import SPACES
from pipeline.space.space import NONE, SKIP, Space

Kind = Literal["normal", "reduction"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellPlan:
    """The plan of one cell.

    kind: normal, or reduction, which halves the resolution.
    architecture: index of the block of architecture parameters that decides this cell.
    channels: number of channels of each node.
    grown: whether growth added it, as s1 + gate * cell(s0, s1) with a gate that started at 0.
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
        """The search space."""
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
        """Number of nodes whose channels make up the output of a cell."""
        return self.nodes if self.rules.concatenates else 1

    @property
    def architectures(self) -> int:
        """Number of blocks of architecture parameters."""
        return 1 + max(cell.architecture for cell in self.cells)

    @property
    def none(self) -> int | None:
        """Index of `none`, the operation that cuts its edge; None if it is no candidate."""
        return self.operations.index(NONE) if NONE in self.operations else None

    @property
    def skip(self) -> int:
        """Index of the skip connection."""
        return self.operations.index(SKIP)

    def architecture_name(self, architecture: int) -> str:
        """Return the name of an architecture in pictures and genotypes.

        'cell' if all cells share one, 'normal' or 'reduction' if all cells of a kind share one, or
        for example 'cell 3 (normal)'.
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
    """Read what `Blueprint.to_dict` wrote; raise KeyError, TypeError or ValueError otherwise."""
    fields = dict(document)
    cells = tuple(CellPlan(**cell) for cell in fields.pop("cells"))
    return Blueprint(operations=tuple(fields.pop("operations")), cells=cells, **fields)


def plan(params: SupernetParams, *, image_channels: int, classes: int) -> Blueprint:
    """Return the blueprint that search starts from, with reductions at 1/3 and 2/3 of its cells.

    As in Liu et al. 2019 and in Dong & Yang 2020, whose N is a third of the cells.
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
