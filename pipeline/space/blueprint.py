"""Blueprint: plain data from which a searched or grown network is built."""

import json
from dataclasses import asdict, dataclass, replace
from math import ceil
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from pipeline.harness.stored import STRICT, Count, Size
from pipeline.space.params import LARGEST_INPUT, MOST_NODES, SupernetParams
from pipeline.space.registry import SPACES
from pipeline.space.space import NONE, SKIP, Space

Kind = Literal["normal", "reduction"]

STEM_FACTORS = (1, 2, 4, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellPlan:
    """The plan of one cell.

    kind: normal, or reduction, which halves the resolution.
    architecture: index of the block of architecture parameters that decides this cell.
    channels: number of channels of each node.
    grown: whether growth added it, as s1 + gate * cell(s0, s1) with a gate that started at 0.
    """

    __pydantic_config__ = STRICT

    kind: Kind
    architecture: Count
    channels: Size
    grown: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """What a network is built from: search space, cells, channels, classes, input, candidates.

    stem_stride: stride of every convolution of the stem. stem_widths: channels of those before its
    last.
    """

    __pydantic_config__ = STRICT

    space: str = "darts"
    image_channels: Size
    classes: Size
    nodes: int
    operations: tuple[str, ...]
    stem_channels: Size
    stem_stride: Literal[1, 2] = 1
    stem_widths: tuple[Size, ...] = ()
    cells: Annotated[tuple[CellPlan, ...], Field(min_length=1)]

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
    def possible_edges(self) -> tuple[tuple[int, int], ...]:
        """The edges if cells had the most nodes; those of fewer nodes come first, as in `edges`."""
        return replace(self, nodes=MOST_NODES).edges

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

    @property
    def stem_factor(self) -> int:
        """How many times smaller than the images the first cell's input is."""
        return int(self.stem_stride ** (len(self.stem_widths) + 1))

    def after_stem(self, height: int, width: int) -> tuple[int, int]:
        """Return the size in pixels that the stem makes of an image's."""
        for _ in range(len(self.stem_widths) + 1):
            height, width = -(-height // self.stem_stride), -(-width // self.stem_stride)
        return height, width

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


BLUEPRINT = TypeAdapter(Blueprint)


def from_dict(document: dict[str, Any]) -> Blueprint:
    """Read what `Blueprint.to_dict` wrote; raise TypeError or ValueError otherwise."""
    # Only from JSON is a list strictly a tuple.
    found = BLUEPRINT.validate_json(json.dumps(document))
    unknown = set(found.operations) - set(found.rules.names)
    if unknown or len(set(found.operations)) < len(found.operations):
        raise ValueError(f"operations: expected those of {found.space}, got {found.operations}")
    return found


def plan(
    params: SupernetParams, *, image_channels: int, classes: int, image_size: int
) -> Blueprint:
    """Return the blueprint that search starts from, with reductions at 1/3 and 2/3 of its cells.

    As in Liu et al. 2019 and in Dong & Yang 2020, whose N is a third of the cells.

    image_size: side of the images in pixels.
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
    stem = params.stem_multiplier * params.channels
    factor = chosen_stem(params, image_size)
    return Blueprint(
        space=params.space,
        image_channels=image_channels,
        classes=classes,
        nodes=params.nodes,
        operations=params.operations,
        stem_channels=stem,
        stem_stride=1 if factor == 1 else 2,
        stem_widths=inner_widths(stem, factor),
        cells=tuple(cells),
    )


def chosen_stem(params: SupernetParams, image_size: int) -> int:
    """Return how many times smaller than the images the first cell's input is."""
    if params.stem != "auto":
        return params.stem
    *smaller, largest = STEM_FACTORS
    return next((one for one in smaller if image_size / one <= LARGEST_INPUT), largest)


def inner_widths(last: int, factor: int) -> tuple[int, ...]:
    """Return the channels of a stem's convolutions before its last, each half of the next.

    last: channels of the last one. factor: product of all strides.
    """
    halvings = factor.bit_length() - 1
    return tuple(2 * ceil(last / 2 ** (number + 1)) for number in range(halvings - 1, 0, -1))
