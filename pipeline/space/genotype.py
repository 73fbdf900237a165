"""Genotype: the architectures of a network, as plain data that is easy to read and diff as JSON."""

import json
import re
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.harness.errors import GenotypeError
from pipeline.space.architecture import Architecture, Gene
from pipeline.space.blueprint import Blueprint
from pipeline.space.registry import SPACES
from pipeline.space.space import NONE

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


def check_fit(genotype: Genotype, blueprint: Blueprint) -> None:
    """Raise GenotypeError, naming what differs, unless the genotype fits the blueprint."""
    if genotype.space != blueprint.space:
        raise GenotypeError(f"genotype: of {genotype.space}, the blueprint is of {blueprint.space}")
    if len(genotype.architectures) != blueprint.architectures:
        raise GenotypeError(
            f"genotype: {len(genotype.architectures)} architectures,"
            f" the blueprint has {blueprint.architectures}"
        )
    for architecture in genotype.architectures:
        if len(architecture.nodes) != blueprint.nodes:
            raise GenotypeError(
                f"genotype: {architecture.name} has {len(architecture.nodes)} nodes,"
                f" the blueprint {blueprint.nodes}"
            )
        for genes in architecture.nodes:
            for gene in genes:
                if gene.operation not in blueprint.operations or gene.operation == NONE:
                    raise GenotypeError(
                        f"genotype: {architecture.name} has {gene.operation}, no candidate here"
                    )
