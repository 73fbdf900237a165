"""Images to convolve, and the comparison of a convolution with torch's."""

import torch
from torch import Tensor

from pipeline.batches.randomness import generator


def images(*shape: int) -> Tensor:
    """Return channels_last images that learn."""
    drawn = torch.randn(shape, generator=generator(0, "images"))
    return drawn.contiguous(memory_format=torch.channels_last).requires_grad_()


def require_equal(
    found: Tensor, expected: Tensor, x: Tensor, weight: Tensor, *, tolerance: float = 1e-5
) -> None:
    """Fail unless two outputs and their gradients of x and the weight differ by rounding alone."""
    assert found.shape == expected.shape
    gradient = torch.randn(found.shape, generator=generator(0, "gradient"))
    for one, other in zip(
        (found, *torch.autograd.grad(found, (x, weight), gradient)),
        (expected, *torch.autograd.grad(expected, (x, weight), gradient)),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)
