"""The cost of a network: parameters and multiply-adds, counted without running it."""

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from pipeline.space.blueprint import Blueprint
from pipeline.space.genotype import Genotype
from pipeline.space.network import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost of a discrete network.

    parameters: number of parameters. mflops: millions of multiply-adds for one image, in
    convolutions and head. The tables of NAS-Bench-201 also count the head's bias, one operation for
    each class.
    """

    parameters: int
    mflops: float


def cost(blueprint: Blueprint, genotype: Genotype, image_size: tuple[int, int]) -> Cost:
    """Return the cost of the discrete network; image_size: (height, width) in pixels."""
    with torch.device("meta"), torch.no_grad():
        network = Network(blueprint, genotype).eval()
        image = torch.empty(1, blueprint.image_channels, *image_size)
        with FlopCounterMode(display=False) as counter:
            network(image)
    # torch counts a multiply-add as two operations, published tables as one.
    return Cost(
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        mflops=counter.get_total_flops() / 2e6,
    )
