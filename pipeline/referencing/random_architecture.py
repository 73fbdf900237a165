"""A random architecture of the search space, as large as the found network."""

from bisect import bisect_left
from dataclasses import replace

import torch
from torch import Generator

from pipeline.deciding.decision import decide
from pipeline.space.blueprint import Blueprint
from pipeline.space.genotype import Genotype
from pipeline.space.network import Network
from pipeline.space.params import GenotypeParams

WIDEST = 1024
"""Largest number of channels of the first cell."""


def random_genotype(blueprint: Blueprint, rules: GenotypeParams, generator: Generator) -> Genotype:
    """Draw an architecture: random logits, decided by the rules of the search."""
    shape = (blueprint.architectures, len(blueprint.edges), len(blueprint.operations))
    return decide(torch.randn(shape, generator=generator), blueprint, rules)


def of_size(blueprint: Blueprint, genotype: Genotype, parameters: int) -> Blueprint:
    """Return the same cells, with channels that come nearest to the number of parameters."""
    widths = range(2, WIDEST + 1)

    def count(channels: int) -> int:
        return parameters_of(scaled(blueprint, channels), genotype)

    above = bisect_left(widths, parameters, key=count)
    nearest = min(widths[max(above - 1, 0) : above + 1], key=lambda c: abs(count(c) - parameters))
    return scaled(blueprint, nearest)


def scaled(blueprint: Blueprint, channels: int) -> Blueprint:
    """Return the same cells with about `channels` in the first and the others in proportion.

    All numbers are even, because reductions need even numbers.
    """
    factor = channels / blueprint.cells[0].channels

    def even(width: int) -> int:
        return 2 * max(1, round(width * factor / 2))

    return replace(
        blueprint,
        stem_channels=even(blueprint.stem_channels),
        stem_widths=tuple(map(even, blueprint.stem_widths)),
        cells=tuple(replace(cell, channels=even(cell.channels)) for cell in blueprint.cells),
    )


def parameters_of(blueprint: Blueprint, genotype: Genotype) -> int:
    """Return the number of parameters of a discrete network, without building its weights."""
    with torch.device("meta"):
        network = Network(blueprint, genotype)
    return sum(parameter.numel() for parameter in network.parameters())
