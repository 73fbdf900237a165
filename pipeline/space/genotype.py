"""Genotype: which operation each kept edge has. Plain data, readable and diffable as JSON."""

import json
import re
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.errors import GenotypeError

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Gene:
    """One kept edge of a node.

    source: 0 is the cell before the previous one, 1 the previous cell, 2 the cell's first node,
    and so on.
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
    """What all cells that share one block of architecture parameters look like."""

    name: str
    nodes: tuple[tuple[Gene, ...], ...]

    def __post_init__(self) -> None:
        for node, genes in enumerate(self.nodes):
            sources = [gene.source for gene in genes]
            if not genes:
                raise GenotypeError(f"{self.name}: node {node} has no incoming edge")
            if len(set(sources)) < len(sources):
                raise GenotypeError(f"{self.name}: node {node} names a source twice")
            for source in sources:
                if not 0 <= source < node + 2:
                    raise GenotypeError(
                        f"{self.name}: node {node} takes source {source};"
                        f" it may take 0 to {node + 1}"
                    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Genotype:
    """One architecture per block of architecture parameters."""

    architectures: tuple[Architecture, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` reads: lists, strings and integers only."""
        return {"schema": SCHEMA, **asdict(self)}

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
            architectures=tuple(
                Architecture(
                    name=str(architecture["name"]),
                    nodes=tuple(
                        tuple(Gene(source=g["source"], operation=g["operation"]) for g in genes)
                        for genes in architecture["nodes"]
                    ),
                )
                for architecture in document["architectures"]
            )
        )
    except (KeyError, TypeError, ValueError) as error:
        raise GenotypeError(f"genotype: malformed: {error!r}") from None


def from_json(text: str) -> Genotype:
    """Read what `Genotype.to_json` wrote; raises GenotypeError as `from_dict` does."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise GenotypeError(f"genotype: not JSON: {error}") from None
    return from_dict(document)
