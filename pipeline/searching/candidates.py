"""Candidates for the finals of a search: draws from its logits that differ in what they compute.

A architectures, E edges of a cell, O candidate operations.
"""

from math import log

import torch
from torch import Generator, Tensor

from pipeline.deciding.decision import decide
from pipeline.searching.equivalence import normal_form
from pipeline.space.blueprint import Blueprint
from pipeline.space.genotype import Genotype
from pipeline.space.relaxation import gumbel
from pipeline.targeting.budget import Budget

TRIES = 16
"""Number of draws for each candidate that is wanted; equal ones count once."""
MARGIN, MOST = 0.01, 0.99
"""Part of the rest to 1 by which a preferred weight exceeds the others of its node; its largest."""


def draw_candidates(
    logits: Tensor, blueprint: Blueprint, budget: Budget, *, count: int, generator: Generator
) -> list[Genotype]:
    """Return the most likely genotype, then distinct draws from softmax(logits).

    There are fewer than `count` if the logits are so decided that draws repeat. Each costs what the
    budget allows.

    logits: (A, E, O).
    """
    logits = logits.detach()
    found: dict[tuple[str, ...], Genotype] = {}
    for number in range(TRIES * count):
        drawn = logits + gumbel(logits, generator) if number else logits.clone()
        budget.fit(drawn, blueprint)
        genotype = decide(drawn, blueprint)
        found.setdefault(normal_form(genotype), genotype)
        if len(found) == count:
            break
    return list(found.values())


def of_operations(operations: tuple[str, ...], blueprint: Blueprint) -> Genotype | None:
    """Return the genotype whose cells have these operations on every edge, one for each cell.

    None if one of them is no candidate, or cells that share an architecture want different ones.
    """
    chosen: dict[int, str] = {}
    for plan, operation in zip(blueprint.cells, operations, strict=True):
        if chosen.setdefault(plan.architecture, operation) != operation:
            return None
    if not {*chosen.values()} <= {*blueprint.operations}:
        return None
    logits = torch.zeros(blueprint.architectures, len(blueprint.edges), len(blueprint.operations))
    for architecture, operation in chosen.items():
        logits[architecture, :, blueprint.operations.index(operation)] = 1
    return decide(logits, blueprint)


def prefer(logits: Tensor, genotype: Genotype, blueprint: Blueprint) -> Tensor:
    """Return logits, (A, E, O), from which `decide` reads this genotype.

    Each of its operations gets a weight just above the largest one of its node; where the space
    cuts edges, so does `none` on the edges that the genotype lacks. No weight of a node is above
    MOST afterwards, so that the order never depends on rounding.
    """
    preferred = logits.detach().clone()
    for index, architecture in enumerate(genotype.architectures):
        for node, genes in enumerate(architecture.nodes):
            edges = [edge for edge, (_, target) in enumerate(blueprint.edges) if target == node]
            largest = float(preferred[index, edges].softmax(-1).max())
            weight = min(largest + MARGIN * (1 - largest), MOST)
            chosen = {gene.source: blueprint.operations.index(gene.operation) for gene in genes}
            for edge in edges:
                row, source = preferred[index, edge], blueprint.edges[edge][0]
                lacking = blueprint.none if blueprint.rules.cuts else None
                operation = chosen.get(source, lacking)
                if operation is not None:
                    _set(row, operation, weight)
                elif float(row.softmax(0).max()) >= weight:
                    _set(row, int(row.argmax()), weight - MARGIN)
    return preferred


def _set(row: Tensor, operation: int, weight: float) -> None:
    """Give one operation of an edge's logits, (O,), a weight, in place."""
    others = torch.cat([row[:operation], row[operation + 1 :]])
    row[operation] = others.logsumexp(0) + log(weight / (1 - weight))
