"""The notation of NAS-Bench-201 for a cell, `none` included (Dong & Yang 2020).

As in `|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|none~1|skip_connect~2|`: of
each node the operation and the source of every edge.
"""

import re

from pipeline.harness.errors import GenotypeError
from pipeline.space.genotype import Architecture, Gene
from pipeline.space.params import CANDIDATES


def to_arch_string(architecture: Architecture) -> str:
    """Return the notation of an architecture of nasbench201."""
    nodes = []
    for node, genes in enumerate(architecture.nodes):
        chosen = {gene.source: gene.operation for gene in genes}
        edges = (f"{chosen.get(source, 'none')}~{source}" for source in range(node + 1))
        nodes.append(f"|{'|'.join(edges)}|")
    return "+".join(nodes)


def from_arch_string(text: str) -> Architecture:
    """Read what `to_arch_string` wrote; the architecture is called 'cell'.

    Raises:
        GenotypeError: it is no such notation, or names an operation that is not there.
    """
    nodes = []
    for node, part in enumerate(text.split("+")):
        edges = re.findall(r"(\w+)~(\d+)(?=\|)", part)
        names = [name for name, _ in edges]
        expected = "|".join(["", *(f"{name}~{source}" for source, name in enumerate(names)), ""])
        if part != expected or len(edges) != node + 1:
            raise GenotypeError(
                f"arch string: node {node}: expected |operation~0| to ~{node}|, got {part!r}"
            )
        if unknown := set(names) - set(CANDIDATES["nasbench201"]):
            raise GenotypeError(f"arch string: nasbench201 has no {', '.join(sorted(unknown))}")
        genes = (Gene(source=source, operation=name) for source, name in enumerate(names))
        nodes.append(tuple(gene for gene in genes if gene.operation != "none"))
    return Architecture(name="cell", nodes=tuple(nodes))
