"""Depthwise convolution with a gradient that is fast on CPUs.

oneDNN computes the gradient of a depthwise kernel that is dilated, wider than 3 or wider than the
images as that of a grouped convolution of 16 channels, which takes ten times as long as the forward
pass. This module computes the same sums in ways that are quick. The results differ from torch's
only by rounding.

N images, C channels, H x W pixels, all channels_last.
"""

from functools import cache, reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.space.ordering import ordered

QUICK_WIDTH = 3
"""Largest kernel width, in taps, whose weight gradient oneDNN computes with depthwise code."""
PRODUCTS = 2**17
"""Products of two pixels that are added up at a time: 512 kB, which a core's cache holds."""


class Depthwise(nn.Conv2d):
    """(N, C, H, W) -> (N, C, ceil(H / stride), ceil(W / stride)), with one kernel per channel.

    The kernel's width is odd. If it is dilated, the stride is 1 or equal to the dilation.
    """

    def __init__(self, channels: int, kernel: int, *, stride: int = 1, dilation: int = 1) -> None:
        padding = dilation * (kernel // 2)
        super().__init__(
            channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """Convolve each channel with its own kernel."""
        if not trains_on_cpu(self, x):
            return super().forward(x)
        stride, dilation = self.stride[0], self.dilation[0]
        if stride == dilation > 1:  # every tap reads one of these pixels
            x, stride, dilation = ordered(x)[:, :, ::stride, ::stride], 1, 1
        x = x.contiguous(memory_format=torch.channels_last)
        convolved: Tensor = _Convolution.apply(x, self.weight, stride, dilation)
        return convolved


def trains_on_cpu(layer: nn.Module, x: Tensor) -> bool:
    """Whether a layer is in training and reads what a CPU computes, as it stands, not compiled."""
    if not layer.training or torch.compiler.is_compiling():
        return False
    return x.device.type == "cpu" and x.dtype == torch.float32


def split(x: Tensor, step: int) -> Tensor:
    """Split images into step**2 smaller ones that take every `step`-th row and column.

    (N, C, H, W) -> (N * step**2, C, ceil(H / step), ceil(W / step)), padded with zeros.
    """
    rows = x.permute(0, 2, 3, 1)
    _, H, W, _ = rows.shape
    if H % step or W % step:
        rows = F.pad(rows, (0, 0, 0, -W % step, 0, -H % step))
    N, H, W, C = rows.shape
    parts = rows.reshape(N, H // step, step, W // step, step, C).permute(2, 4, 0, 1, 3, 5)
    return parts.reshape(N * step**2, H // step, W // step, C).permute(0, 3, 1, 2)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.dilation = stride, dilation
        padding = dilation * (weight.shape[-1] // 2)
        return F.conv2d(x, weight, None, stride, padding, dilation, len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_x = _of_input(gradient, x, weight, ctx.stride, ctx.dilation)
        if ctx.needs_input_grad[1]:
            if ctx.dilation > 1:
                gradient, x = split(gradient, ctx.dilation), split(x, ctx.dilation)
            of_weight = _of_weight(gradient, x, weight, ctx.stride)
        return of_x, of_weight, None, None


def _of_input(gradient: Tensor, x: Tensor, weight: Tensor, stride: int, dilation: int) -> Tensor:
    """Return the gradient of x; at stride 1 it is a convolution with the mirrored kernel."""
    padding = dilation * (weight.shape[-1] // 2)
    if stride == 1:
        mirrored = weight.flip(2, 3)
        return F.conv2d(gradient, mirrored, None, 1, padding, dilation, len(weight))
    return _torch(gradient, x, weight, stride, (padding, padding), of_input=True)


def _of_weight(gradient: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Return the gradient of the kernels, computed for a few of their columns at a time."""
    channels, _, height, width = weight.shape
    padding, centre = width // 2, QUICK_WIDTH // 2
    if width > x.shape[3]:
        return _of_weight_on_few_pixels(gradient, x, weight, stride)
    if width <= QUICK_WIDTH:
        return _torch(gradient, x, weight, stride, (padding, padding), of_input=False)
    # A column of zero gradient at each end, so that values beyond the images do not count.
    framed = F.pad(gradient.permute(0, 2, 3, 1), (0, 0, 1, 1)).permute(0, 3, 1, 2)
    needed = stride * framed.shape[3]
    rows, some = x.permute(0, 2, 3, 1), weight.new_empty(channels, 1, height, QUICK_WIDTH)
    columns = []
    for first in range(0, width, QUICK_WIDTH):
        left = stride + padding - centre - first  # puts the middle column over the pixel
        seen = F.pad(rows, (0, 0, left, needed - left - x.shape[3])).permute(0, 3, 1, 2)
        columns.append(_torch(framed, seen, some, stride, (padding, centre), of_input=False))
    return torch.cat(columns, dim=3)[..., :width]


def _of_weight_on_few_pixels(gradient: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Return the gradient of the kernels from the products of all pairs of pixels.

    P pixels of the gradient, Q of x, T taps.
    """
    C, width = len(weight), weight.shape[-1]
    rows, columns = (one.permute(0, 2, 3, 1).flatten(1, 2) for one in (gradient, x))
    P, Q = rows.shape[1], columns.shape[1]
    at_a_time = max(1, PRODUCTS // (P * Q * C))
    pairs = reduce(
        torch.add,
        (
            (some[:, :, None] * others[:, None]).sum(0)  # (P, Q, C)
            for some, others in zip(
                torch.split(rows, at_a_time), torch.split(columns, at_a_time), strict=True
            )
        ),
    )
    taps = _reads(x.shape[2], x.shape[3], width, stride) @ pairs.view(P * Q, C)
    return taps.t().reshape(weight.shape)


@cache
def _reads(height: int, width: int, kernel: int, stride: int) -> Tensor:
    """Return which tap reads which pixel for which output, 1 or 0: (T, P * Q)."""
    pixels = torch.eye(height * width).view(-1, 1, height, width)
    return F.unfold(pixels, kernel, 1, kernel // 2, stride).permute(1, 2, 0).flatten(1)


def _torch(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: int,
    padding: tuple[int, int],
    *,
    of_input: bool,
) -> Tensor:
    """Return torch's gradient of x, or that of the kernels, of which it uses only the shape.

    `torch.nn.grad` is 4 times slower, because its tensors are not channels_last.
    """
    found: Tensor
    of_x, of_weight, _ = torch.ops.aten.convolution_backward.default(
        *(gradient, x, weight, None, (stride, stride), padding, (1, 1), False, (0, 0)),
        len(weight),
        (of_input, not of_input, False),
    )
    found = of_x if of_input else of_weight
    return found
