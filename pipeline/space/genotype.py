"""Genotype: the architectures of a network, as plain data that is easy to read and diff as JSON."""

import json
import re
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.harness.errors import GenotypeError
from pipeline.space.architecture import Architecture, Gene
from pipeline.space.registry import SPACES

SCHEMA = 1
UNNAMED = "darts"
"""Search space of a document that names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Genotype:
    """One architecture per block of architecture parameters."""

    space: str = UNNAMED
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
        last = node + len(space.inputs) - 1
        for source in sources:
            if not 0 <= source <= last:
                raise GenotypeError(f"{where} takes source {source}; it may take 0 to {last}")

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` reads: lists, strings and integers only.

        The space is left out if it is UNNAMED.
        """
        fields = asdict(self)
        if self.space == UNNAMED:
            del fields["space"]
        return {"schema": SCHEMA, **fields}

    def to_json(self) -> str:
        """Return indented JSON with one gene per line, so that Git shows which edge changed."""
        text = json.dumps(self.to_dict(), indent=1)
        return (
            re.sub(r"\{\s+(\"source\": \d+,)\s+(\"operation\": \"\w+\")\s+\}", r"{\1 \2}", text)
            + "\n"
        )


def from_dict(document: Any) -> Genotype:
    """Read what `Genotype.to_dict` wrote.

    Raises:
        GenotypeError: the document is malformed, of another schema, or impossible for a cell.
    """
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise GenotypeError(f"genotype: expected schema {SCHEMA}")
    try:
        return Genotype(
            space=document.get("space", UNNAMED),
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
