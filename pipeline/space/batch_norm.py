"""BatchNorm by the statistics of a batch, also of one whose parts several processes have.

N images, C channels, H x W pixels.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
