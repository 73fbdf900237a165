"""The search space of NAS-Bench-201, exactly as published (Dong & Yang 2020)."""

import re

from pipeline.harness.errors import GenotypeError
from pipeline.space.architecture import Architecture, Gene
from pipeline.space.layers import AveragePool, Convolution, Identity, Norm, Relu
from pipeline.space.space import NONE, Input, Operation, Space


def to_arch_string(architecture: Architecture) -> str:
    """Return the published notation of a cell, `none` included.

    As in `|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|none~1|skip_connect~2|`:
    the operation and the source of every edge, node by node.
    """
    nodes = []
    for node, genes in enumerate(architecture.nodes):
        chosen = {gene.source: gene.operation for gene in genes}
        edges = (f"{chosen.get(source, NONE)}~{source}" for source in range(node + 1))
        nodes.append(f"|{'|'.join(edges)}|")
    return "+".join(nodes)


def from_arch_string(text: str) -> Architecture:
    """Read what `to_arch_string` wrote; the architecture is called 'cell'.

    Raises:
        GenotypeError: the text is malformed or names an unknown operation.
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
        if unknown := set(names) - set(NASBENCH201.names):
            raise GenotypeError(f"arch string: nasbench201 has no {', '.join(sorted(unknown))}")
        genes = (Gene(source=source, operation=name) for source, name in enumerate(names))
        nodes.append(tuple(gene for gene in genes if gene.operation != NONE))
    return Architecture(name="cell", nodes=tuple(nodes))


NASBENCH201 = Space(
    name="nasbench201",
    operations=(
        Operation(name="none", color="#8a96a3", layers=None),
        Operation(name="skip_connect", color="#2fa866", layers=(Identity(),)),
        Operation(name="nor_conv_1x1", color="#ee86ad", layers=(Relu(), Convolution(1), Norm())),
        Operation(name="nor_conv_3x3", color="#3d8bfd", layers=(Relu(), Convolution(3), Norm())),
        Operation(name="avg_pool_3x3", color="#d9bd3c", layers=(AveragePool(),)),
    ),
    inputs=(Input(label="cell k−1", words="the cell's input"),),
    rectifies=False,
    adapts=False,
    concatenates=False,
    normalises=True,
    cuts=True,
    own_reduction=False,
    edges_per_node=3,
    fixed={"nodes": 3, "stem_multiplier": 1, "edges_per_node": 3},
    cells_multiple_of=3,
    output="A cell's output is its last node; no edge gives zeros (Dong & Yang 2020).",
    joins="last node",
    notation=to_arch_string,
)
