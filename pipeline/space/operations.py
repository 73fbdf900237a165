"""The candidates on an edge (Liu et al. 2019, section 3.1).

Each takes (N, C, H, W) and returns (N, C, ceil(H / stride), ceil(W / stride)), for any H and W.
`none` has no module: an edge that takes it does not run.
"""

from collections.abc import Callable
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.space.depthwise import Depthwise


class BatchNorm(nn.Module):
    """Batch normalisation that can use batch statistics and leave the running ones alone.

    `nn.BatchNorm2d` counts its batches too, a kernel per layer and step that nothing here reads.
    """

    momentum = 0.1
    epsilon = 1e-5
    total: ClassVar[Callable[[Tensor], Tensor] | None] = None
    """Sum over several processes that each have a part of the batch, differentiable; else None."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.track = True

    def forward(self, x: Tensor) -> Tensor:
        """Normalise by the batch while training, by the running statistics in evaluation mode."""
        if self.training and BatchNorm.total is not None:
            return self._normalise_part(x, BatchNorm.total)
        known = self.track or not self.training
        return F.batch_norm(
            x,
            self.running_mean if known else None,
            self.running_var if known else None,
            self.weight,
            self.bias,
            training=self.training,
            momentum=self.momentum,
            eps=self.epsilon,
        )

    def _normalise_part(self, x: Tensor, total: Callable[[Tensor], Tensor]) -> Tensor:
        """Normalise by the statistics of a batch of which `x` is a part.

        Sums are of what differs from the running mean, or rounding would eat the variance.
        """
        wide, shift = x.float(), self.running_mean.detach().clone()
        centred = wide - shift[:, None, None]
        images = x.new_full((1,), x.numel() / x.shape[1], dtype=torch.float32)
        sums = torch.cat([centred.sum((0, 2, 3)), centred.square().sum((0, 2, 3)), images])
        first, second, count = torch.split(total(sums), [x.shape[1], x.shape[1], 1])
        mean = first / count
        variance = second / count - mean.square()
        if self.track:
            with torch.no_grad():
                self.running_mean.lerp_(shift + mean, self.momentum)
                self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = self.weight * (variance + self.epsilon).rsqrt()
        shifted = (centred - mean[:, None, None]) * scale[:, None, None]
        normalised: Tensor = (shifted + self.bias[:, None, None]).to(x.dtype)
        return normalised


def convolution(
    inputs: int,
    outputs: int,
    kernel: int | tuple[int, int],
    *,
    stride: int = 1,
) -> nn.Conv2d:
    """Return a convolution without bias, padded so that only the stride changes the size."""
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = (height // 2, width // 2)
    return nn.Conv2d(inputs, outputs, (height, width), stride, padding, bias=False)


def conv_norm(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """1x1 convolution, BatchNorm: what matches channels where two cells meet."""
    return nn.Sequential(convolution(inputs, outputs, 1, stride=stride), BatchNorm(outputs))


def relu_conv_norm(inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> nn.Sequential:
    """ReLU, convolution, BatchNorm."""
    return nn.Sequential(
        nn.ReLU(), convolution(inputs, outputs, kernel, stride=stride), BatchNorm(outputs)
    )


def separable(
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    inplace: bool = False,
) -> list[nn.Module]:
    """ReLU, depthwise convolution, pointwise convolution, BatchNorm.

    inplace: the input is nobody else's.
    """
    return [
        nn.ReLU(inplace),
        Depthwise(inputs, kernel, stride=stride, dilation=dilation),
        convolution(inputs, outputs, 1),
        BatchNorm(outputs),
    ]


class FactorizedReduce(nn.Module):
    """Half the resolution through two paths, one of them shifted by a pixel both ways.

    Odd sizes are padded by one. Half of the outputs comes from each path: `outputs` is even.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        if outputs % 2:
            raise ValueError(
                f"FactorizedReduce needs an even number of output channels, got {outputs}"
            )
        self.even = convolution(inputs, outputs // 2, 1, stride=2)
        self.odd = convolution(inputs, outputs // 2, 1, stride=2)
        self.norm = BatchNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, ceil(H / 2), ceil(W / 2))."""
        height, width = x.shape[2:]
        if height % 2 or width % 2:
            x = F.pad(x, (0, width % 2, 0, height % 2))
        halves: Tensor = self.norm(torch.cat([self.even(x), self.odd(x[:, :, 1:, 1:])], dim=1))
        return halves


def _skip(channels: int, stride: int) -> nn.Module:
    if stride == 1:
        return nn.Identity()
    return nn.Sequential(nn.ReLU(), FactorizedReduce(channels, channels))


def _max_pool(channels: int, stride: int) -> nn.Module:
    return nn.Sequential(nn.MaxPool2d(3, stride, 1), BatchNorm(channels))


def _average_pool(channels: int, stride: int) -> nn.Module:
    return nn.Sequential(nn.AvgPool2d(3, stride, 1, count_include_pad=False), BatchNorm(channels))


def _separable_twice(kernel: int) -> Callable[[int, int], nn.Module]:
    def make(channels: int, stride: int) -> nn.Module:
        return nn.Sequential(
            *separable(channels, channels, kernel, stride=stride),
            *separable(channels, channels, kernel, inplace=True),
        )

    return make


def _dilated(kernel: int) -> Callable[[int, int], nn.Module]:
    def make(channels: int, stride: int) -> nn.Module:
        return nn.Sequential(*separable(channels, channels, kernel, stride=stride, dilation=2))

    return make


def _plain(kernel: int) -> Callable[[int, int], nn.Module]:
    def make(channels: int, stride: int) -> nn.Module:
        return relu_conv_norm(channels, channels, kernel, stride)

    return make


def _two_strips(channels: int, stride: int) -> nn.Module:
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, (1, 7), (1, stride), (0, 3), bias=False),
        nn.Conv2d(channels, channels, (7, 1), (stride, 1), (3, 0), bias=False),
        BatchNorm(channels),
    )


OPERATIONS: dict[str, Callable[[int, int], nn.Module]] = {
    "max_pool_3x3": _max_pool,
    "avg_pool_3x3": _average_pool,
    "skip_connect": _skip,
    "sep_conv_3x3": _separable_twice(3),
    "sep_conv_5x5": _separable_twice(5),
    "dil_conv_3x3": _dilated(3),
    "dil_conv_5x5": _dilated(5),
    "sep_conv_7x7": _separable_twice(7),
    "conv_7x1_1x7": _two_strips,
    "conv_1x1": _plain(1),
    "conv_3x3": _plain(3),
}
"""Candidate by name: (channels, stride) -> module.

To add one, add it here and to `OperationName`.
"""
