"""The second head with which networks of cells may be trained, as in DARTS and NASNet."""

import torch
from torch import Tensor, nn

from pipeline.batches.randomness import generator
from pipeline.space.network import Network, initialize
from pipeline.space.operations import relu_conv_norm
from pipeline.space.ordering import mean_of_pixels


class AuxiliaryHead(nn.Module):
    """A second classifier on an earlier cell's output, only for training.

    (N, C, H, W) -> (N, K) logits.
    """

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.features = relu_conv_norm(inputs, inputs)
        self.head = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.head(mean_of_pixels(self.features(x).relu()))
        return logits


def auxiliary_head(network: Network, seed: int) -> AuxiliaryHead:
    """Return a fresh second head for a network, on its device."""
    blueprint = network.blueprint
    channels = blueprint.output_nodes * blueprint.cells[auxiliary_cell(network)].channels
    auxiliary = AuxiliaryHead(channels, blueprint.classes)
    initialize(auxiliary, generator(seed, "optimize", "auxiliary"))
    return auxiliary.to(memory_format=torch.channels_last).to(network.head.weight.device)


def auxiliary_cell(network: Network) -> int:
    """Return the index of the cell that the auxiliary head reads: the last reduction."""
    return max(i for i, cell in enumerate(network.blueprint.cells) if cell.kind == "reduction")
