"""Depthwise convolution with a gradient that is fast on CPUs.

oneDNN computes the gradient of a depthwise kernel that is dilated or wider than 3 as that of a
grouped convolution of 16 channels, which takes ten times as long as the forward pass. This module
splits the same sums into pieces for which oneDNN has depthwise code. The results differ from
torch's only by rounding.

N images, C channels, H x W pixels, all channels_last.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.space.ordering import ordered

QUICK_WIDTH = 3
"""Largest kernel width, in taps, whose weight gradient oneDNN computes with depthwise code."""


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
        if not self.training or x.device.type != "cpu" or x.dtype != torch.float32:
            return super().forward(x)
        stride, dilation = self.stride[0], self.dilation[0]
        if dilation == 1:
            return _convolve(x, self.weight, stride)
        if stride == dilation:  # every tap reads one of these pixels
            return _convolve(ordered(x)[:, :, ::stride, ::stride], self.weight, 1)
        height, width = x.shape[2:]
        joined = join(_convolve(split(x, dilation), self.weight, 1), dilation)
        return ordered(joined)[:, :, :height, :width]


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


def join(parts: Tensor, step: int) -> Tensor:
    """Undo `split` but keep its padding: (N * step**2, C, H, W) -> (N, C, H * step, W * step)."""
    N, C, H, W = len(parts) // step**2, *parts.shape[1:]
    rows = parts.permute(0, 2, 3, 1).reshape(step, step, N, H, W, C).permute(2, 3, 0, 4, 1, 5)
    return rows.reshape(N, H * step, W * step, C).permute(0, 3, 1, 2)


def _convolve(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    x = x.contiguous(memory_format=torch.channels_last)
    convolved: Tensor = _Convolution.apply(x, weight, stride)
    return convolved


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv2d(x, weight, None, stride, weight.shape[-1] // 2, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        return (
            _of_input(gradient, x, weight, ctx.stride) if ctx.needs_input_grad[0] else None,
            _of_weight(gradient, x, weight, ctx.stride) if ctx.needs_input_grad[1] else None,
            None,
        )


def _of_input(gradient: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Return the gradient of x; at stride 1 it is a convolution with the mirrored kernel."""
    padding = weight.shape[-1] // 2
    if stride == 1:
        return F.conv2d(gradient, weight.flip(2, 3), None, 1, padding, groups=len(weight))
    return _torch(gradient, x, weight, stride, (padding, padding), of_input=True)


def _of_weight(gradient: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Return the gradient of the kernels, computed for a few of their columns at a time."""
    channels, _, height, width = weight.shape
    padding, centre = width // 2, QUICK_WIDTH // 2
    if width <= QUICK_WIDTH or width > x.shape[3]:
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
    of_x, of_weight, _ = torch.ops.aten.convolution_backward(
        *(gradient, x, weight, None, (stride, stride), padding, (1, 1), False, (0, 0)),
        len(weight),
        (of_input, not of_input, False),
    )
    found = of_x if of_input else of_weight
    return found
