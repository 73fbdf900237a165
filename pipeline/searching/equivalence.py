"""Which architectures compute the same: a normal form of a cell's expression."""

from pipeline.space.architecture import Architecture
from pipeline.space.genotype import Genotype
from pipeline.space.registry import SPACES
from pipeline.space.space import SKIP, Space

ZERO = "0"
"""The expression of a node without input."""


def normal_form(genotype: Genotype) -> tuple[str, ...]:
    """Return an expression of each architecture; architectures that compute the same share it.

    A skip connection is its source, unless it halves the resolution and so has weights. Nothing
    comes of zeros but a constant. A sum does not depend on the order of its terms, and an output of
    all nodes not on that of the nodes: the next layer reads them with weights of its own.
    """
    space = SPACES[genotype.space]
    return tuple(_expression(one, space) for one in genotype.architectures)


def _expression(architecture: Architecture, space: Space) -> str:
    states = [f"x{number}" for number in range(len(space.inputs))]
    inputs = len(states)
    for genes in architecture.nodes:
        terms = []
        for gene in genes:
            source = states[gene.source]
            adds_nothing = space.adds_input and gene.operation == SKIP
            if source == ZERO or adds_nothing:
                continue
            weighted = space.adapts and gene.source < inputs
            plain = gene.operation == SKIP and not weighted
            terms.append(source if plain else f"{gene.operation}({source})")
        states.append("+".join(sorted(terms)) if terms else ZERO)
        if len(terms) > 1:
            states[-1] = f"({states[-1]})"
    nodes = states[inputs:]
    return "|".join(sorted(nodes)) if space.concatenates else nodes[-1]
