"""1x1 convolution that is fast on few pixels on a CPU.

There, oneDNN takes longer to prepare a convolution than to compute it, a matrix product does not.
The results differ from torch's only by rounding.

N images, C input channels, O output channels, H x W pixels, all channels_last.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.space.depthwise import trains_on_cpu

FEW_PIXELS = 4096
"""Most pixels of a batch for which a matrix product is faster, forwards and backwards."""


class Pointwise(nn.Conv2d):
    """(N, C, H, W) -> (N, O, H, W): each pixel by itself, without bias."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply each pixel's channels by the weights."""
        if not trains_on_cpu(self, x):
            return super().forward(x)
        if len(x) * x.shape[2] * x.shape[3] > FEW_PIXELS:
            return super().forward(x)
        pixels = x.permute(0, 2, 3, 1)
        return F.linear(pixels, self.weight.flatten(1)).permute(0, 3, 1, 2)
