"""Genotype: which operation each kept edge has. Plain data, readable and diffable as JSON."""

import json
import re
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.harness.errors import GenotypeError
from pipeline.space.params import SpaceName
from pipeline.space.spaces import SPACES

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Gene:
    """One kept edge of a node.

    source: in darts 0 is the cell before the previous one, 1 the previous cell, 2 the cell's first
    node, and so on; in nasbench201 0 is the cell's input, 1 its first node, and so on.
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
    """What all cells that share one block of architecture parameters look like.

    nodes: the kept edges of each. One without any is zeros.
    """

    name: str
    nodes: tuple[tuple[Gene, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Genotype:
    """One architecture per block of architecture parameters."""

    space: SpaceName = "darts"
    architectures: tuple[Architecture, ...]

    def __post_init__(self) -> None:
        if self.space not in SPACES:
            raise GenotypeError(f"genotype: no search space is called {self.space!r}")
        for architecture in self.architectures:
            for node, genes in enumerate(architecture.nodes):
                self._check(f"{architecture.name}: node {node}", node, genes)

    def _check(self, where: str, node: int, genes: tuple[Gene, ...]) -> None:
        space = SPACES[self.space]
        sources = [gene.source for gene in genes]
        if not (genes or space.cuts):
            raise GenotypeError(f"{where} has no incoming edge")
        if len(set(sources)) < len(sources):
            raise GenotypeError(f"{where} names a source twice")
        last = node + space.inputs - 1
        for source in sources:
            if not 0 <= source <= last:
                raise GenotypeError(f"{where} takes source {source}; it may take 0 to {last}")

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` reads: lists, strings and integers only.

        A document that names no space is of darts.
        """
        fields = asdict(self)
        if self.space == "darts":
            del fields["space"]
        return {"schema": SCHEMA, **fields}

    def to_json(self) -> str:
        """Return indented JSON: one gene a line, so that Git shows which edge changed."""
        text = json.dumps(self.to_dict(), indent=1)
        return (
            re.sub(r"\{\s+(\"source\": \d+,)\s+(\"operation\": \"\w+\")\s+\}", r"{\1 \2}", text)
            + "\n"
        )


def from_dict(document: Any) -> Genotype:
    """Read what `Genotype.to_dict` wrote.

    Raises:
        GenotypeError: not a genotype, of another schema, or one that no cell can have.
    """
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise GenotypeError(f"genotype: expected schema {SCHEMA}")
    try:
        return Genotype(
            space=document.get("space", "darts"),
            architectures=tuple(
                Architecture(
                    name=str(architecture["name"]),
                    nodes=tuple(
                        tuple(Gene(source=g["source"], operation=g["operation"]) for g in genes)
                        for genes in architecture["nodes"]
                    ),
                )
                for architecture in document["architectures"]
            ),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise GenotypeError(f"genotype: malformed: {error!r}") from None
