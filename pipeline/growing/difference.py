"""The difference between the outputs of a network before and after a growth."""

from copy import deepcopy

import torch
from torch import Tensor

from pipeline.batches.randomness import generator
from pipeline.deciding.decision import decide
from pipeline.space.blueprint import Blueprint
from pipeline.space.network import Network
from pipeline.space.relaxation import EdgeWeights, explore, genotype_weights, skip_only


@torch.no_grad()
def max_difference(before: Network, after: Network, images: Tensor, logits: Tensor) -> float:
    """Return the largest difference of logits in evaluation mode, over several paths.

    images: (N, C, H, W). logits: (A, E, O) of the smaller network, whose most likely genotype is
    one of the paths.
    """
    # On the host: not every accelerator has float64, and most are slow at it.
    old, new = (deepcopy(one).to("cpu", torch.float64).eval() for one in (before, after))
    small, large = before.blueprint, after.blueprint
    genotype = decide(logits, small)
    paths = [(skip_only(small), skip_only(large)), _both(genotype_weights(genotype, small), large)]
    for number in range(3):
        source = generator(0, "growth", "difference", number)
        paths.append(_both(explore(small, probability=1.0, generator=source, logits=logits), large))
    images = images.to("cpu", torch.float64)
    differences = [(old(images, one) - new(images, other)).abs().max() for one, other in paths]
    largest = torch.finfo(torch.float32).max  # for NaN and inf, which JSON lacks
    return float(torch.stack(differences).max().nan_to_num(nan=largest, posinf=largest))


def _both(weights: EdgeWeights, blueprint: Blueprint) -> tuple[EdgeWeights, EdgeWeights]:
    """Pair edge weights with those of a grown blueprint, whose new edges, if any, skip."""
    new = list(skip_only(blueprint).active)
    for architecture, known in enumerate(weights.active):
        new[architecture] = known + new[architecture][len(known) :]
    return weights, EdgeWeights(active=tuple(new))
