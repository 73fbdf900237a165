"""An architecture: the operation of each kept edge of a cell, as plain data."""

from dataclasses import dataclass

from pipeline.harness.errors import GenotypeError


@dataclass(frozen=True, slots=True, kw_only=True)
class Gene:
    """One kept edge of a node.

    source: index of what the edge reads: the cell's inputs, as its search space lists them, then
    its nodes. In darts 0 is the cell before the previous one, 1 the previous cell, 2 the cell's
    first node, and so on.
    """

    source: int
    operation: str

    def __post_init__(self) -> None:
        if type(self.source) is not int or type(self.operation) is not str:
            raise GenotypeError(
                f"genotype: a gene needs a whole number and a name, got {self.source!r}"
                f" and {self.operation!r}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """The architecture of all cells that share one block of architecture parameters.

    nodes: the kept edges of each node; a node without any outputs zeros.
    """

    name: str
    nodes: tuple[tuple[Gene, ...], ...]
