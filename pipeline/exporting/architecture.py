"""The architecture in words, for the model card."""

from collections.abc import Iterable, Sequence

from pipeline.harness.showing import Markdown, code, markdown
from pipeline.space.architecture import Gene
from pipeline.space.network import Network

GROWN = "A grown cell adds its output, times a learnt gate, to the output of the cell before it."


def architecture_of(network: Network) -> str:
    """Return the cells of a discrete network in Markdown: their order, and what is in them."""
    genotype, blueprint = network.genotype, network.blueprint
    assert genotype is not None
    space = blueprint.rules
    inputs, output = [one.words for one in space.inputs], space.output
    rows = [
        (architecture.name, node, _sum(genes, inputs))
        for architecture in genotype.architectures
        for node, genes in enumerate(architecture.nodes)
    ]
    cells = ", ".join(
        f"{genotype.architectures[cell.architecture].name} {cell.channels}"
        + (" (grown)" if cell.grown else "")
        for cell in blueprint.cells
    )
    order = f"{len(blueprint.cells)} cells, with the channels of a node: {cells}."
    if any(cell.grown for cell in blueprint.cells):
        order += f"\n{GROWN}"
    if space.notation is not None:
        strings = (f"`{space.notation(one)}`" for one in genotype.architectures)
        output = "\n\n".join([f"{output} As a string:", *strings])
    return f"{order}\n\n{table(('cell', 'node', 'is the sum of'), rows)}\n\n{output}"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table in Markdown. head: Markdown. rows: cells, which may be texts of strangers."""
    lines = [head, ["---"] * len(head), *(map(markdown, row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _sum(genes: Sequence[Gene], inputs: Sequence[str]) -> Markdown:
    return Markdown(", ".join(_gene(gene, inputs) for gene in genes) or "nothing")


def _gene(gene: Gene, inputs: Sequence[str]) -> str:
    sources = [*inputs, *(f"node {node}" for node in range(gene.source))]
    return f"{code(gene.operation)} of {sources[gene.source]}"
