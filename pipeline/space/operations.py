"""The modules of networks: the operations on edges, and reductions.

N images, C channels, H x W pixels.
"""

from collections.abc import Sequence
from functools import singledispatch

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.space.batch_norm import BatchNorm
from pipeline.space.depthwise import Depthwise
from pipeline.space.layers import (
    STRIDING,
    AveragePool,
    Convolution,
    DepthwiseConvolution,
    Identity,
    Layer,
    MaxPool,
    Norm,
    Relu,
    Strip,
)
from pipeline.space.ordering import ordered
from pipeline.space.pointwise import Pointwise


def convolution(
    inputs: int,
    outputs: int,
    kernel: int | tuple[int, int],
    *,
    stride: int | tuple[int, int] = 1,
) -> nn.Conv2d:
    """Return a convolution without bias, padded so that only the stride changes the size."""
    if kernel == stride == 1:
        return Pointwise(inputs, outputs)
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = (height // 2, width // 2)
    return nn.Conv2d(inputs, outputs, (height, width), stride, padding, bias=False)


def conv_norm(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Return a 1x1 convolution and BatchNorm, which match the channels of two cells."""
    return nn.Sequential(convolution(inputs, outputs, 1, stride=stride), BatchNorm(outputs))


def relu_conv_norm(inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> nn.Sequential:
    """Return a ReLU, a convolution and BatchNorm."""
    return nn.Sequential(
        nn.ReLU(), convolution(inputs, outputs, kernel, stride=stride), BatchNorm(outputs)
    )


def stem_layers(image_channels: int, widths: Sequence[int], stride: int) -> list[nn.Module]:
    """Return a stem: 3x3 convolutions with BatchNorm, with a ReLU between two of them.

    widths: channels of each. stride: of each.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in zip((image_channels, *widths), widths, strict=False):
        layers += [nn.ReLU()] if layers else []
        layers += [convolution(inputs, outputs, 3, stride=stride), BatchNorm(outputs)]
    return layers


class FactorizedReduce(nn.Module):
    """A reduction to half the resolution on two paths, one shifted by a pixel both ways.

    Odd sizes are padded by one pixel. Each path gives half of the outputs, so `outputs` is even.
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
        shifted = ordered(x)[:, :, 1:, 1:]
        halves: Tensor = self.norm(torch.cat([self.even(x), self.odd(shifted)], dim=1))
        return halves


class MeanOfFour(nn.Module):
    """The mean of 2x2 pixels; where an odd size ends, of those that are there.

    As `nn.AvgPool2d(2, ceil_mode=True)`, of which ONNX Runtime before 1.29 makes other numbers.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, ceil(H / 2), ceil(W / 2))."""
        height, width = x.shape[2:]
        if height % 2 or width % 2:
            x = F.pad(x, (0, width % 2, 0, height % 2), mode="replicate")
        return F.avg_pool2d(x, 2)


class ResidualReduction(nn.Module):
    """The basic block of a residual network, which halves the resolution between two cells.

    The shortcut and the convolution both round odd sizes up.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = relu_conv_norm(inputs, outputs, 3, stride=2)
        self.second = relu_conv_norm(outputs, outputs, 3)
        self.shortcut = nn.Sequential(MeanOfFour(), convolution(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, ceil(H / 2), ceil(W / 2))."""
        reduced: Tensor = self.shortcut(x) + self.second(self.first(x))
        return reduced


def build_operation(layers: tuple[Layer, ...], channels: int, stride: int) -> nn.Module:
    """Return a module (N, C, H, W) -> (N, C, ceil(H / stride), ceil(W / stride)), any H and W."""
    modules = []
    for layer in layers:
        modules.append(module(layer, channels, stride))
        if isinstance(layer, STRIDING):
            stride = 1
    return modules[0] if len(modules) == 1 else nn.Sequential(*modules)


class Rectified(nn.Sequential):
    """An operation whose first ReLU is left to who calls it; an identity has its place."""


def without_relu(operation: nn.Module) -> nn.Module:
    """Return the operation without the ReLU that it begins with, if any, under the same names."""
    if isinstance(operation, nn.Sequential) and isinstance(operation[0], nn.ReLU):
        return Rectified(nn.Identity(), *operation[1:])
    return operation


@singledispatch
def module(layer: Layer, channels: int, stride: int) -> nn.Module:  # noqa: ARG001 - of all layers
    """Return the module of one layer."""
    raise TypeError(f"no module for {layer}")


@module.register
def _(layer: Relu, _channels: int, _stride: int) -> nn.Module:
    return nn.ReLU(layer.inplace)


@module.register
def _(layer: Convolution, channels: int, stride: int) -> nn.Module:
    inputs, outputs = layer.inputs * channels, layer.outputs * channels
    return convolution(inputs, outputs, layer.kernel, stride=stride)


@module.register
def _(layer: Strip, channels: int, stride: int) -> nn.Module:
    kernel, halving = (layer.kernel, 1), (stride, 1)
    if layer.along == "width":
        kernel, halving = kernel[::-1], halving[::-1]
    return convolution(channels, channels, kernel, stride=halving)


@module.register
def _(layer: DepthwiseConvolution, channels: int, stride: int) -> nn.Module:
    width = layer.width * channels
    return Depthwise(width, layer.kernel, stride=stride, dilation=layer.dilation)


@module.register
def _(layer: Norm, channels: int, _stride: int) -> nn.Module:
    return BatchNorm(layer.width * channels)


@module.register
def _(_layer: MaxPool, _channels: int, stride: int) -> nn.Module:
    return nn.MaxPool2d(3, stride, 1)


@module.register
def _(_layer: AveragePool, _channels: int, stride: int) -> nn.Module:
    return nn.AvgPool2d(3, stride, 1, count_include_pad=False)


@module.register
def _(_layer: Identity, channels: int, stride: int) -> nn.Module:
    if stride == 1:
        return nn.Identity()
    return nn.Sequential(nn.ReLU(), FactorizedReduce(channels, channels))
