"""Relaxation: from architecture logits to the edge weights of one forward pass.

A architectures, E edges of a cell, O candidate operations. Logits are an (A, E, O) float32 tensor
on the CPU: sampling needs their values on the host, and they are a few hundred numbers.

The rows made here sum to 1 (or are empty, for an edge that is cut), and nothing downstream
normalises them again.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from pipeline.space.blueprint import Blueprint
from pipeline.space.genotype import Genotype

ABSENT = -1
"""Index of the operation of an edge that a genotype lacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeWeights:
    """What each edge does in one forward pass.

    active: (A, E) tuples with the indices of the operations that run, on the host, so that a step
    needs no sync. gates: (A, E, O) factors on the network's device, through which gradients reach
    the logits; None if all factors are 1 and no gradient is needed. auxiliary: weight of an extra
    skip connection on each edge.
    """

    active: tuple[tuple[tuple[int, ...], ...], ...]
    gates: Tensor | None = None
    auxiliary: float = 0.0


def initial_logits(
    blueprint: Blueprint, *, none: float, skip: float, noise: float, generator: Generator
) -> Tensor:
    """Return initial logits, (A, E, O): normal noise plus `none` and `skip`.

    A low `none` keeps every edge from cutting the gradient at the start.
    """
    shape = (blueprint.architectures, len(blueprint.edges), len(blueprint.operations))
    logits = noise * torch.randn(shape, generator=generator)
    if blueprint.none is not None:
        logits[..., blueprint.none] += none
    logits[..., blueprint.skip] += skip
    return logits


def disabled(logits: Tensor) -> Tensor:
    """(A, E, O) logits -> which operations failed and are disabled: they are minus infinity."""
    return logits.detach().isneginf()


def without_disabled(weights: EdgeWeights, logits: Tensor) -> EdgeWeights:
    """Return edge weights that do not run what is disabled, where they would run all operations."""
    gone = disabled(logits)
    if not gone.any():
        return weights
    active = tuple(
        tuple(
            tuple(index for index in edge if not flags[index])
            for edge, flags in zip(edges, rows, strict=True)
        )
        for edges, rows in zip(weights.active, gone.tolist(), strict=True)
    )
    return replace(weights, active=active)


def skip_only(blueprint: Blueprint) -> EdgeWeights:
    """Return edge weights that run the skip connection of every edge."""
    edges = ((blueprint.skip,),) * len(blueprint.edges)
    return EdgeWeights(active=(edges,) * blueprint.architectures)


def explore(
    blueprint: Blueprint,
    *,
    probability: float,
    generator: Generator,
    otherwise: Callable[[], Tensor] | None = None,
    logits: Tensor | None = None,
) -> EdgeWeights:
    """Draw edge weights; with `probability` an edge takes any operation except `none`, uniformly.

    otherwise: draws (A, E) operation indices for the other edges; None for skip connections. It
    draws last, so that equal generators explore alike whatever the other edges take.
    logits: (A, E, O), for what is disabled; None if nothing is.
    """
    shape = (blueprint.architectures, len(blueprint.edges))
    candidates = [index for index in range(len(blueprint.operations)) if index != blueprint.none]

    def uniform() -> Tensor:
        return torch.tensor(candidates)[torch.randint(len(candidates), shape, generator=generator)]

    explores = torch.rand(shape, generator=generator) < probability
    drawn = uniform()
    nothing = torch.zeros(*shape, len(blueprint.operations), dtype=torch.bool)
    gone = nothing if logits is None else disabled(logits)
    while (bad := gone.gather(-1, drawn.unsqueeze(-1)).squeeze(-1)).any():
        drawn = torch.where(bad, uniform(), drawn)
    kept = torch.tensor(blueprint.skip) if otherwise is None else otherwise()
    return from_choices(torch.where(explores, drawn, kept))


def from_choices(choices: Tensor) -> EdgeWeights:
    """(A, E) operation indices -> edge weights that run one operation per edge, no gradient.

    An edge with index ABSENT runs nothing.
    """
    return EdgeWeights(
        active=tuple(
            tuple(() if index == ABSENT else (index,) for index in row) for row in choices.tolist()
        )
    )


def sample(logits: Tensor, *, temperature: float, generator: Generator) -> Tensor:
    """Draw one operation per edge, differentiably.

    Straight-through Gumbel-softmax (Jang et al. 2017).

    Args:
        logits: (A, E, O) architecture logits.
        temperature: > 0. The draw itself does not depend on it (the largest of logits + noise
            stays the largest); the gradient does: it grows as 1/temperature near a tie and
            vanishes far from one.
        generator: source of the Gumbel noise.

    Returns:
        (A, E, O) rows that are exactly one-hot in value; the gradient is that of the soft sample.

    Raises:
        ValueError: `temperature` is not positive.
    """
    soft = relax(logits, temperature=temperature, generator=generator)
    hard = torch.zeros_like(soft).scatter_(-1, soft.argmax(-1, keepdim=True), 1.0)
    return hard + (soft - soft.detach())


def relax(logits: Tensor, *, temperature: float, generator: Generator) -> Tensor:
    """Draw a soft sample: softmax((logits + Gumbel noise) / temperature).

    Its rows, (A, E, O), sum to 1.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    return torch.softmax((logits + gumbel(logits, generator)) / temperature, dim=-1)


def gumbel(like: Tensor, generator: Generator) -> Tensor:
    """Return Gumbel noise in the shape of a tensor: logits + noise is largest as softmax draws."""
    exponential = torch.empty_like(like).exponential_(generator=generator)
    return -exponential.clamp_min(torch.finfo(like.dtype).tiny).log()


def reinmax(logits: Tensor, *, temperature: float, generator: Generator) -> Tensor:
    """Draw one operation per edge, with a gradient of second order (Liu et al. 2023, algorithm 2).

    `sample` has the gradient of a first-order step from the soft sample, this has that of Heun's
    method. Arguments and shapes are the same; the draw does not depend on the temperature.
    """
    drawn = sample(logits.detach(), temperature=1.0, generator=generator)
    weights = logits.softmax(-1)
    middle = (drawn + (logits.detach() / temperature).softmax(-1)) / 2
    step = (middle.log() - logits).detach().masked_fill(disabled(logits), 0.0)
    shifted = (step + logits).softmax(-1)
    soft = 2 * shifted - weights / 2
    return drawn + (soft - soft.detach())


def hard_weights(rows: Tensor, device: torch.device | None = None) -> EdgeWeights:
    """One-hot rows (A, E, O) from `sample` -> edge weights that run one operation per edge.

    device: device of the gates, for a step that differentiates the logits; None leaves them out.
    """
    choices = from_choices(rows.detach().argmax(-1))
    return choices if device is None else EdgeWeights(active=choices.active, gates=rows.to(device))


def whole_weights(rows: Tensor, device: torch.device) -> EdgeWeights:
    """One-hot rows (A, E, O) -> edge weights that run every operation, those not drawn times 0.

    So their gates have a gradient too: the first-order change of the loss if they had been drawn.
    """
    architectures, edges, operations = rows.shape
    every = (tuple(range(operations)),) * edges
    return EdgeWeights(active=(every,) * architectures, gates=rows.to(device))


def soft_weights(
    rows: Tensor, *, device: torch.device, dominance: float = 0.7, minor: float = 0.05
) -> EdgeWeights:
    """Rows (A, E, O) that sum to 1 -> edge weights that run their mixture.

    If one weight exceeds `dominance`, only it and those above `minor` run, rescaled to sum to 1.
    The gradient treats the scale as a constant, so that a row left with one operation still has a
    gradient.
    """
    values = rows.detach()
    dominated = values.amax(-1, keepdim=True) > dominance
    runs = ~dominated | (values > minor)
    gates = torch.where(runs, rows, 0.0)
    gates = gates / gates.detach().sum(-1, keepdim=True)
    active = tuple(
        tuple(tuple(index for index, run in enumerate(edge) if run) for edge in architecture)
        for architecture in runs.tolist()
    )
    return EdgeWeights(active=active, gates=gates.to(device))


def genotype_weights(genotype: Genotype, blueprint: Blueprint) -> EdgeWeights:
    """Return edge weights that run only the operations of a genotype in a supernet."""
    active = []
    for architecture in genotype.architectures:
        chosen = {
            (gene.source, node): (blueprint.operations.index(gene.operation),)
            for node, genes in enumerate(architecture.nodes)
            for gene in genes
        }
        active.append(tuple(chosen.get(edge, ()) for edge in blueprint.edges))
    return EdgeWeights(active=tuple(active))
