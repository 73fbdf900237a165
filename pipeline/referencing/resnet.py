"""ResNet for small images: what a user would train without a search.

The CIFAR form of He et al. 2016 (section 4.2): a 3x3 stem, three stages of `BLOCKS` basic blocks
each, twice the channels and half the resolution from one to the next, global average pooling. With
three blocks it is their ResNet-20. N images, C channels, H x W pixels, K classes.
"""

from bisect import bisect_left

import torch
from torch import Generator, Tensor, nn

from pipeline.space.batch_norm import BatchNorm
from pipeline.space.blueprint import inner_widths
from pipeline.space.network import initialize
from pipeline.space.operations import conv_norm, convolution, stem_layers
from pipeline.space.ordering import mean_of_pixels

BLOCKS = 3
WIDEST = 2048
"""Largest number of channels of the first stage, far beyond any network of this project."""


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut: a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            convolution(inputs, outputs, 3, stride=stride),
            BatchNorm(outputs),
            nn.ReLU(inplace=True),
            convolution(outputs, outputs, 3),
            BatchNorm(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = conv_norm(inputs, outputs, stride)

    def forward(self, x: Tensor, kept: Tensor | None) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, ceil(H / stride), ceil(W / stride)).

        kept: (N, 1, 1, 1) factors of drop path, or None.
        """
        residual = self.residual(x)
        if kept is not None:
            residual = residual * kept.to(residual.dtype)
        added: Tensor = (self.shortcut(x) + residual).relu()
        return added


class ResNet(nn.Module):
    """(N, C, H, W) float32 normalised images -> (N, K) logits."""

    def __init__(self, image_channels: int, width: int, classes: int, *, stem: int) -> None:
        """Create the modules.

        width: number of channels of the first stage. stem: how many times smaller than the images
            its input is.
        """
        super().__init__()
        widths = (*inner_widths(width, stem), width)
        layers = stem_layers(image_channels, widths, min(stem, 2))
        self.stem = nn.Sequential(*layers, nn.ReLU(inplace=True))
        self.blocks = nn.ModuleList()
        inputs = width
        for stage in range(3):
            outputs = width << stage
            for number in range(BLOCKS):
                stride = 2 if stage and not number else 1
                self.blocks.append(Block(inputs, outputs, stride))
                inputs = outputs
        self.head = nn.Linear(inputs, classes)

    @property
    def paths(self) -> int:
        """Number of paths that drop path may drop: one in each block."""
        return len(self.blocks)

    def forward(self, images: Tensor, kept_paths: Tensor | None = None) -> Tensor:
        """Return logits. kept_paths: (P, N, 1, 1, 1) factors of drop path, or None."""
        features = self.stem(images)
        for number, block in enumerate(self.blocks):
            features = block(features, None if kept_paths is None else kept_paths[number])
        logits: Tensor = self.head(mean_of_pixels(features))
        return logits


def build_resnet(
    image_channels: int,
    width: int,
    classes: int,
    *,
    stem: int,
    generator: Generator,
    device: torch.device,
) -> ResNet:
    """Return a ResNet with fresh weights, channels last."""
    network = ResNet(image_channels, width, classes, stem=stem)
    initialize(network, generator)
    return network.to(memory_format=torch.channels_last).to(device)


def width_of_size(parameters: int, *, image_channels: int, classes: int, stem: int) -> int:
    """Return the width with which a ResNet comes nearest to the number of parameters."""
    widths = range(1, WIDEST + 1)

    def count(width: int) -> int:
        with torch.device("meta"):
            network = ResNet(image_channels, width, classes, stem=stem)
        return sum(parameter.numel() for parameter in network.parameters())

    above = bisect_left(widths, parameters, key=count)
    return min(widths[max(above - 1, 0) : above + 1], key=lambda w: abs(count(w) - parameters))
