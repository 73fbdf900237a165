"""When to grow and how: pure functions of the history and the budget."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.events.event import Kind
from pipeline.growing.blueprints import add_node, deepen, widen
from pipeline.growing.params import GrowthParams
from pipeline.space.blueprint import Blueprint
from pipeline.space.genotype import Genotype
from pipeline.targeting.budget import Budget


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The size of a network; a kind of growth that hurt is not tried again at the same size."""

    cells: int
    channels: int
    nodes: int


def size(blueprint: Blueprint) -> Size:
    """Return the number of cells, the channels of the first one's nodes, and how many these are."""
    return Size(
        cells=len(blueprint.cells), channels=blueprint.cells[0].channels, nodes=blueprint.nodes
    )


def stagnates(accuracies: Sequence[float], *, patience: int, min_improvement: float) -> bool:
    """Whether the best of the last `patience` epochs hardly improves on the best before them.

    accuracies: one per epoch since the network last changed; up to `patience` are too few.
    min_improvement: improvement that is enough.
    """
    if len(accuracies) <= patience:
        return False
    return max(accuracies[-patience:]) - max(accuracies[:-patience]) < min_improvement


def hurts(before: Sequence[float], after: Sequence[float], *, tolerance: float) -> bool:
    """Whether mean accuracy after a growth is more than `tolerance` below that before it."""
    return sum(before) / len(before) - sum(after) / len(after) > tolerance


def choose(
    blueprint: Blueprint,
    genotype: Genotype,
    budget: Budget,
    params: GrowthParams,
    *,
    last: Kind | None,
    refused: frozenset[tuple[Kind, Size]],
) -> tuple[Kind, Blueprint] | None:
    """Return the next growth and the blueprint it leads to, or None if there is room for none.

    The kinds take turns: the one after `last` is tried first. refused: kinds that were not kept,
    with the size they were tried at.
    """
    start = params.kinds.index(last) + 1 if last in params.kinds else 0
    for kind in params.kinds[start:] + params.kinds[:start]:
        if (kind, size(blueprint)) in refused:
            continue
        larger = grown(blueprint, kind, params)
        if has_room(larger, params) and budget.allows(larger, extend(genotype, larger)):
            return kind, larger
    return None


def grown(blueprint: Blueprint, kind: Kind, params: GrowthParams) -> Blueprint:
    """Return the blueprint after a growth; a mutation leaves it as it is."""
    match kind:
        case "deepen":
            return deepen(blueprint)
        case "widen":
            return widen(blueprint, params.widen_factor)
        case "node":
            return add_node(blueprint)
        case "mutate":
            return blueprint


def has_room(blueprint: Blueprint, params: GrowthParams) -> bool:
    """Whether growth may lead to a blueprint of this size."""
    reached = size(blueprint)
    return (
        reached.cells <= params.max_cells
        and reached.channels <= params.max_channels
        and ("node" not in params.kinds or reached.nodes <= params.max_nodes)
    )


def extend(genotype: Genotype, blueprint: Blueprint) -> Genotype:
    """Return the genotype for a larger blueprint.

    New cells repeat the last architecture, new nodes the last node. This is enough to count costs.
    """
    architectures = tuple(
        replace(one, nodes=one.nodes + one.nodes[-1:] * (blueprint.nodes - len(one.nodes)))
        for one in genotype.architectures
    )
    missing = blueprint.architectures - len(architectures)
    return replace(genotype, architectures=architectures + architectures[-1:] * missing)
