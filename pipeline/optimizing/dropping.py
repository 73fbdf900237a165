"""Drop path (Larsson et al. 2017): an edge's output is dropped for some images, else scaled up.

N images, P paths of a network.
"""

import torch
from torch import Generator, Tensor


def kept_paths(paths: int, images: int, probability: float, generator: Generator) -> Tensor:
    """Return (P, N, 1, 1, 1) factors: 0 for what is dropped; the mean of each stays 1.

    All are drawn at once: for each path by itself they would be five launches.

    probability: probability of dropping, in [0, 1). generator: random source on the images' device.
    """
    keep = 1 - probability
    shape = (paths, images, 1, 1, 1)
    return (torch.rand(shape, generator=generator, device=generator.device) < keep) / keep
