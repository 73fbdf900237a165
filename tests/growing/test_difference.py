"""The difference of outputs is seen, and measuring it changes nothing."""

import torch

from pipeline.growing.difference import max_difference
from tests.conftest import random_images, scramble, tiny_network


def test_the_difference_of_outputs_is_seen() -> None:
    network, other = scramble(tiny_network()), scramble(tiny_network())
    images = random_images(4).pixels.float()
    logits = torch.zeros(2, 5, 4)
    assert max_difference(network, other, images, logits) == 0
    with torch.no_grad():
        other.head.bias[1] += 0.25
    assert abs(max_difference(network, other, images, logits) - 0.25) < 1e-6
    assert network.training
    assert next(network.parameters()).dtype == torch.float32
