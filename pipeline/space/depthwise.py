"""Depthwise convolution with a gradient that is quick on CPUs.

oneDNN differentiates a depthwise kernel that is dilated or wider than 3 as if it were a grouped
convolution of 16 channels: ten times the time of the forward pass. Here the same sums are found in
pieces for which it has depthwise code; they differ from torch's by rounding alone.

N images, C channels, H x W pixels, all channels_last.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

QUICK_WIDTH = 3
"""Widest kernel whose weights oneDNN differentiates with its depthwise code."""


class Depthwise(nn.Conv2d):
    """(N, C, H, W) -> (N, C, ceil(H / stride), ceil(W / stride)); an odd kernel for each channel.

    A dilated one has stride 1 or that of its dilation.
    """

    def __init__(self, channels: int, kernel: int, *, stride: int = 1, dilation: int = 1) -> None:
        padding = dilation * (kernel // 2)
        super().__init__(
            channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """Convolve."""
        if not self.training or x.device.type != "cpu" or x.dtype != torch.float32:
            return super().forward(x)
        stride, dilation = self.stride[0], self.dilation[0]
        if dilation == 1:
            return _convolve(x, self.weight, stride)
        if stride == dilation:  # every tap falls on one of these pixels
            return _convolve(x[:, :, ::stride, ::stride], self.weight, 1)
        height, width = x.shape[2:]
        return join(_convolve(split(x, dilation), self.weight, 1), dilation)[:, :, :height, :width]


def split(x: Tensor, step: int) -> Tensor:
    """(N, C, H, W) -> (N * step**2, C, ceil(H / step), ceil(W / step)).

    What is left when only every `step`-th row and column counts, from each of the first ones on;
    zeros where an image ends early.
    """
    rows = x.permute(0, 2, 3, 1)
    _, H, W, _ = rows.shape
    if H % step or W % step:
        rows = F.pad(rows, (0, 0, 0, -W % step, 0, -H % step))
    N, H, W, C = rows.shape
    parts = rows.reshape(N, H // step, step, W // step, step, C).permute(2, 4, 0, 1, 3, 5)
    return parts.reshape(N * step**2, H // step, W // step, C).permute(0, 3, 1, 2)


def join(parts: Tensor, step: int) -> Tensor:
    """Undo `split`, zeros included: (N * step**2, C, H, W) -> (N, C, H * step, W * step)."""
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
    """Return the gradient of x: where nothing is left out, a convolution by the mirrored kernel."""
    padding = weight.shape[-1] // 2
    if stride == 1:
        return F.conv2d(gradient, weight.flip(2, 3), None, 1, padding, groups=len(weight))
    return _torch(gradient, x, weight, stride, (padding, padding), of_input=True)


def _of_weight(gradient: Tensor, x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Return the gradient of the kernels, a few of their columns at a time."""
    channels, _, height, width = weight.shape
    padding, centre = width // 2, QUICK_WIDTH // 2
    if width <= QUICK_WIDTH or width > x.shape[3]:
        return _torch(gradient, x, weight, stride, (padding, padding), of_input=False)
    # A column of no gradient at each end, so that what lies beyond the images does not matter.
    framed = F.pad(gradient.permute(0, 2, 3, 1), (0, 0, 1, 1)).permute(0, 3, 1, 2)
    needed = stride * framed.shape[3]
    rows, some = x.permute(0, 2, 3, 1), weight.new_empty(channels, 1, height, QUICK_WIDTH)
    columns = []
    for first in range(0, width, QUICK_WIDTH):
        left = stride + padding - centre - first  # so that the middle column is over the pixel
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
    """Return torch's gradient of x or else of the kernels, of which only the shape counts then.

    `torch.nn.grad` asks for the same with tensors that are not channels_last: 4 times slower.
    """
    found: Tensor
    of_x, of_weight, _ = torch.ops.aten.convolution_backward(
        *(gradient, x, weight, None, (stride, stride), padding, (1, 1), False, (0, 0)),
        len(weight),
        (of_input, not of_input, False),
    )
    found = of_x if of_input else of_weight
    return found
