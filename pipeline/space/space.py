"""What a search space is: data that answers for itself, so that nobody asks for its name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pipeline.space.architecture import Architecture
from pipeline.space.layers import Layer

NONE, SKIP = "none", "skip_connect"
"""Operations that every search space has: the cut edge, and the skip connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A candidate on an edge.

    layers: in their order; None cuts the edge. color: of it in every picture.
    """

    name: str
    color: str
    layers: tuple[Layer, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """An earlier output that a cell reads. label: in a picture; words: in a sentence."""

    label: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """A search space.

    Attributes:
        name: in `network.space`, blueprints and genotypes.
        operations: candidates, in the order in which a reader expects them.
        inputs: what a cell reads; its sources 0 to len(inputs) - 1.
        rectifies: it reads them after a ReLU.
        adapts: a cell brings what it reads to its own channels, and in a reduction cell the edges
            from its inputs halve the size. Else the stem has the first cell's channels, and a
            residual block before a reduction cell halves the size and changes the channels.
        concatenates: a cell's output is all of its nodes, not the last one alone.
        normalises: what the last cell gives is normalised before the classifier.
        cuts: `none` may win an edge, which the genotype then lacks.
        own_reduction: where cells share an architecture, reduction cells share another one.
        edges_per_node: incoming edges that a node keeps, as published.
        fixed: params of `network` that the space leaves no choice in.
        cells_multiple_of: the number of cells is a multiple of this.
        output: a sentence on what a cell's output is. joins: the same as a word for a picture.
        notation: an architecture in the space's own notation, where it has one.
    """

    name: str
    operations: tuple[Operation, ...]
    inputs: tuple[Input, ...]
    rectifies: bool
    adapts: bool
    concatenates: bool
    normalises: bool
    cuts: bool
    own_reduction: bool
    edges_per_node: int
    fixed: Mapping[str, int] = field(default_factory=dict)
    cells_multiple_of: int = 1
    output: str
    joins: str
    notation: Callable[[Architecture], str] | None = None

    def __post_init__(self) -> None:
        if not {NONE, SKIP} <= set(self.names):
            raise ValueError(f"{self.name}: {NONE} and {SKIP} must be among its operations")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the candidates."""
        return tuple(one.name for one in self.operations)

    def operation(self, name: str) -> Operation:
        """Return the candidate of that name; raise KeyError if there is none."""
        return {one.name: one for one in self.operations}[name]
