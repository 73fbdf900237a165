"""What logits decide: the genotype, and how far it is from decided.

A architectures, E edges of a cell, O candidate operations; logits are (A, E, O) on the CPU.
"""

from math import log

import torch
from torch import Tensor

from pipeline.harness.errors import ParamsError
from pipeline.space.architecture import Architecture, Gene
from pipeline.space.blueprint import Blueprint
from pipeline.space.genotype import Genotype
from pipeline.space.params import GenotypeParams
from pipeline.space.relaxation import ABSENT, disabled

DECIDED = 0.4
"""Smallest weight with which an operation counts as chosen."""


def entropy(logits: Tensor) -> Tensor:
    """(A, E, O) logits -> (A, E) entropy of each edge's distribution, in nats; at most ln O."""
    log_weights = logits.log_softmax(-1)
    return -(log_weights.exp() * log_weights.masked_fill(disabled(logits), 0.0)).sum(-1)


def concentration(logits: Tensor, operations: tuple[str, ...]) -> dict[str, float]:
    """Return how decided the architecture is, as means over its edges.

    Entropy (nats, and as a fraction of ln O), largest weight, weight of each operation.
    """
    weights = logits.detach().double().softmax(-1)
    nats = float(entropy(logits.detach().double()).mean())
    shares = weights.mean((0, 1)).tolist()
    return {
        "entropy": nats,
        "entropy_fraction": nats / log(len(operations)),
        "max_weight": float(weights.amax(-1).mean()),
        **{f"share_{name}": share for name, share in zip(operations, shares, strict=True)},
    }


def undecided(logits: Tensor) -> Tensor:
    """(A, E, O) logits -> (A, E) whether no operation of the edge has a weight of at least 0.4."""
    return logits.detach().softmax(-1).amax(-1) < DECIDED


def decide(logits: Tensor, blueprint: Blueprint, params: GenotypeParams | None = None) -> Genotype:
    """Return the most likely genotype.

    A node keeps its strongest edges, an edge its strongest operation; `none` wins only if the space
    cuts edges, and its edge is then absent. While a cell has more skip connections than
    `max_skips`, its weakest one is excluded and the choice repeated (Chen et al. 2019).

    Ties go to the lower index, so that equal logits give equal genotypes.

    params: None keeps as many edges as published for the space, and any number of skip connections.

    Raises:
        ParamsError: `max_skips` is set, and no operation can replace a skip connection.
    """
    space = blueprint.rules
    params = params or GenotypeParams(edges_per_node=space.edges_per_node, max_skips=None)
    if params.max_skips is not None and not {*blueprint.operations} - {*space.required}:
        required = " and ".join(space.required)
        raise ParamsError(f"network.max_skips: a limit needs operations besides {required}")
    weights = _eligible(logits, blueprint)
    limit = len(blueprint.edges) if params.max_skips is None else params.max_skips
    architectures = []
    for architecture, row in enumerate(weights):
        kept = _kept(row, blueprint, params.edges_per_node)
        while len(skips := (kept == blueprint.skip).nonzero().flatten().tolist()) > limit:
            row[min(skips, key=lambda edge: float(row[edge, blueprint.skip])), blueprint.skip] = -1
            kept = _kept(row, blueprint, params.edges_per_node)
        nodes: list[list[Gene]] = [[] for _ in range(blueprint.nodes)]
        for (source, node), choice in zip(blueprint.edges, kept.tolist(), strict=True):
            if choice != ABSENT:
                nodes[node].append(Gene(source=source, operation=blueprint.operations[choice]))
        name = blueprint.architecture_name(architecture)
        architectures.append(Architecture(name=name, nodes=tuple(map(tuple, nodes))))
    return Genotype(space=blueprint.space, architectures=tuple(architectures))


def likely_operations(logits: Tensor, blueprint: Blueprint) -> Tensor:
    """Return the operations that `decide` keeps by the rule of the space, (A, E) indices.

    Edges without one have index ABSENT.
    """
    return _kept(_eligible(logits, blueprint), blueprint, blueprint.rules.edges_per_node)


def _eligible(logits: Tensor, blueprint: Blueprint) -> Tensor:
    """(A, E, O) logits -> weights; negative for what is disabled, and `none` unless it may win."""
    weights = logits.detach().softmax(-1).masked_fill(disabled(logits), -1)
    if blueprint.none is not None and not blueprint.rules.cuts:
        weights[..., blueprint.none] = -1
    return weights


def _kept(weights: Tensor, blueprint: Blueprint, edges_per_node: int) -> Tensor:
    """(..., E, O) weights -> (..., E) operation of each kept edge, else ABSENT."""
    strengths, choices = weights.max(-1)
    for node in range(blueprint.nodes):
        edges = torch.tensor([e for e, (_, target) in enumerate(blueprint.edges) if target == node])
        if len(edges) > edges_per_node:
            order = strengths[..., edges].sort(dim=-1, descending=True, stable=True).indices
            choices.scatter_(-1, edges[order[..., edges_per_node:]], ABSENT)
    if blueprint.none is not None:
        choices[choices == blueprint.none] = ABSENT
    return choices
