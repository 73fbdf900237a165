"""The modules of networks: the operations on edges, BatchNorm and reductions.

N images, C channels, H x W pixels.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import singledispatch
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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

AddUp = Callable[[list[Tensor]], None]
"""Function that replaces tensors by their sums over several processes."""
# Not in each module: to find hundreds of them takes milliseconds in every step.
_TRACKED: ContextVar[bool] = ContextVar("tracked", default=True)
_ADD_UP: ContextVar[AddUp | None] = ContextVar("add_up", default=None)


@contextmanager
def untracked_statistics() -> Iterator[None]:
    """Use batch statistics without updating the running ones, which belong to the weights."""
    before = _TRACKED.set(False)
    try:
        yield
    finally:
        _TRACKED.reset(before)


@contextmanager
def parts_of_a_batch(add_up: AddUp | None) -> Iterator[None]:
    """Let BatchNorm treat what several processes have as one batch.

    add_up: None for a single process.
    """
    before = _ADD_UP.set(add_up)
    try:
        yield
    finally:
        _ADD_UP.reset(before)


class BatchNorm(nn.Module):
    """Batch normalisation that can use batch statistics without updating the running ones.

    `nn.BatchNorm2d` also counts its batches, with one kernel per layer and step for a number that
    nothing here reads.
    """

    momentum = 0.1
    epsilon = 1e-5

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise by batch statistics in training mode, by running ones in evaluation mode."""
        if self.training and _ADD_UP.get() is not None:
            part: Tensor = _Part.apply(x, self.weight, self.bias, self)
            return part
        known = _TRACKED.get() or not self.training
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

    def whole_batch(self, x: Tensor, add_up: AddUp) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean, variance and values a channel of the batch that `x` is a part of.

        The sums are of differences from the running mean: else the variance would be lost to
        rounding.
        """
        mean, variance = torch.batch_norm_update_stats(x.float(), None, None, 0.0)
        off = mean - self.running_mean
        sums = torch.cat([off, variance + off.square(), off.new_ones(1)]) * (x.numel() // len(off))
        add_up([sums])
        first, second, count = torch.split(sums, [len(off), len(off), 1])
        off = first / count
        mean, variance = self.running_mean + off, second / count - off.square()
        if _TRACKED.get():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        return mean, variance, count


class _Part(torch.autograd.Function):
    """Normalisation of a part of a batch by the statistics of the whole batch.

    They depend on every image, so a part's gradient has means over all parts. With g the gradient
    of the output and n the normalised input, it is
    weight / deviation * (g - mean(g) - n * mean(g * n)).
    """

    @staticmethod
    def forward(context: Any, x: Tensor, weight: Tensor, bias: Tensor, norm: BatchNorm) -> Tensor:
        """Return the normalised part."""
        add_up = _ADD_UP.get()
        assert add_up is not None
        mean, variance, count = norm.whole_batch(x, add_up)
        context.save_for_backward(x, weight, mean, variance, count)
        context.add_up = add_up
        return F.batch_norm(x, mean, variance, weight, bias, eps=norm.epsilon)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the part, the weight and the bias."""
        x, weight, mean, variance, count = context.saved_tensors
        _, *own = torch.ops.aten.native_batch_norm_backward(
            *(gradient, x, weight, mean, variance, None, None),
            train=False,
            eps=BatchNorm.epsilon,
            output_mask=[False, True, True],
        )
        sums = torch.stack(own)
        context.add_up([sums])
        of_weight, of_bias = sums / count
        scale = (variance + BatchNorm.epsilon).rsqrt()
        factor, slope = weight * scale, weight * scale.square() * of_weight
        level = factor * of_bias - slope * mean
        factor, slope, level = (one[:, None, None] for one in (factor, slope, level))
        given = torch.addcmul(-level, gradient, factor).addcmul_(x, slope, value=-1)
        return given.to(gradient.dtype), *own, None


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
