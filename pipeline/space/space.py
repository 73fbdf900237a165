"""Search spaces as data: code asks a space for its properties, never for its name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.space.architecture import Architecture
from pipeline.space.layers import Layer

NONE, SKIP = "none", "skip_connect"
"""The cut edge, which a search space may have, and the skip connection, which each has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A candidate on an edge.

    layers: its layers in order; None adds nothing to the node. color: its color in every picture.
    """

    name: str
    color: str
    layers: tuple[Layer, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """An earlier output that a cell reads. label: its name in pictures. words: in sentences."""

    label: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """A search space.

    Attributes:
        name: name in `network.space`, blueprints and genotypes.
        operations: candidates, in the order in which they are shown.
        inputs: outputs that a cell reads, its sources 0 to len(inputs) - 1.
        rectifies: whether a cell reads them after a ReLU.
        adapts: whether a cell converts its inputs to its own channels; in a reduction cell the
            edges from the inputs then halve the size. Else the stem has the first cell's channels,
            and a residual block before a reduction cell halves the size and changes the channels.
        concatenates: whether a cell's output is all of its nodes, not only the last one.
        adds_input: whether a cell adds its input to its output, so that an edge without layers
            leaves the input as it is.
        normalises: whether the last cell's output is normalised before the classifier.
        cuts: whether `none` may win an edge, which the genotype then lacks.
        own_reduction: whether reduction cells that share an architecture have one of their own.
        edges_per_node: incoming edges that a node keeps, as published.
        fixed: params of `network` that have one allowed value in this space.
        reference: function from the kinds of the cells to the operation of each cell of a
            well-known network, or None if the space has none.
        cells_multiple_of: divisor of the number of cells.
        output: sentence on what a cell's output is. joins: the same as a word for pictures.
        notation: function that returns an architecture in the space's own notation, or None.
    """

    name: str
    operations: tuple[Operation, ...]
    inputs: tuple[Input, ...]
    rectifies: bool
    adapts: bool
    concatenates: bool
    adds_input: bool = False
    normalises: bool
    cuts: bool
    own_reduction: bool
    edges_per_node: int
    fixed: Mapping[str, int] = field(default_factory=dict)
    cells_multiple_of: int = 1
    output: str
    joins: str
    notation: Callable[[Architecture], str] | None = None
    reference: Callable[[Sequence[str]], tuple[str, ...]] | None = None

    def __post_init__(self) -> None:
        if SKIP not in self.names:
            raise ValueError(f"{self.name}: {SKIP} must be among its operations")

    @property
    def is_chain(self) -> bool:
        """Whether each cell is one layer: its one input plus one operation on it."""
        return self.adds_input and len(self.inputs) == 1 and self.fixed.get("nodes") == 1

    @property
    def required(self) -> tuple[str, ...]:
        """The names of the candidates that every network of the space has."""
        return tuple(name for name in (NONE, SKIP) if name in self.names)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the candidates."""
        return tuple(one.name for one in self.operations)

    def operation(self, name: str) -> Operation:
        """Return the candidate of that name; raise KeyError if there is none."""
        return {one.name: one for one in self.operations}[name]
