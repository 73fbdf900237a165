"""TrivialAugment: for each image one operation of one strength, both random (Müller & Hutter 2021).

Operations and ranges are those of its wide space. n images of one operation, C channels, S x S
pixels as floats in 0..255; a strength is in [-1, 1], as (n, 1, 1, 1).
"""

from collections.abc import Callable
from math import pi

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

LEVELS = 31
"""Number of strengths of each sign, from 0 to 1."""
FACTOR, SHEAR, TURN, SHIFT = 0.99, 0.99, 135 * pi / 180, 32.0
"""Largest change of a factor, slope, angle in radians, and shift in pixels."""


def trivial_augment(pixels: Tensor, generator: Generator) -> Tensor:
    """Change each image by one operation.

    Args:
        pixels: (N, C, S, S) uint8 or floats in 0..255.
        generator: random source on the CPU, so that the device is never waited for.

    Returns:
        (N, C, S, S) float32 in 0..255, channels_last.
    """
    N, device = len(pixels), pixels.device
    chosen = torch.randint(len(OPERATIONS), (N,), generator=generator)
    levels = torch.randint(LEVELS, (N, 1, 1, 1), generator=generator) / (LEVELS - 1)
    signs = 2 * torch.randint(2, (N, 1, 1, 1), generator=generator) - 1
    strengths, changed = (levels * signs).to(device), pixels.float()
    for number, operation in enumerate(OPERATIONS):
        rows = (chosen == number).nonzero().flatten()
        if len(rows):
            here = rows.to(device, non_blocking=True)
            result = operation(changed[here], strengths[here])
            changed = changed.index_copy(0, here, result)
    return changed.clamp(0, 255).contiguous(memory_format=torch.channels_last)


def _moved(pixels: Tensor, *entries: Tensor | float) -> Tensor:
    """Move pixels about the centre; what comes from outside is black.

    entries: the six of the matrix from new to old places, each from -1 to 1.
    """
    shape = (len(pixels), 1, 1, 1)
    columns = [torch.as_tensor(one, device=pixels.device).expand(shape) for one in entries]
    matrix = torch.cat(columns, 1).reshape(-1, 2, 3).float()
    grid = F.affine_grid(matrix, list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, align_corners=False)


def _turned(pixels: Tensor, strength: Tensor) -> Tensor:
    cosine, sine = (TURN * strength).cos(), (TURN * strength).sin()
    return _moved(pixels, cosine, -sine, 0, sine, cosine, 0)


def _blurred(pixels: Tensor) -> Tensor:
    """Return the mean of 3x3 pixels, in which the middle one counts five times."""
    around = F.avg_pool2d(pixels, 3, stride=1, padding=1, count_include_pad=False)
    return (9 * around + 4 * pixels) / 13


def _stretched(pixels: Tensor, _: Tensor) -> Tensor:
    """Let each channel reach from 0 to 255, unless it has one value only."""
    low, high = pixels.amin((2, 3), keepdim=True), pixels.amax((2, 3), keepdim=True)
    return torch.where(high > low, (pixels - low) * (255 / (high - low)), pixels)


def _posterized(pixels: Tensor, strength: Tensor) -> Tensor:
    step = 2 ** (6 * strength.abs()).round()
    return (pixels / step).floor() * step


def _equalized(pixels: Tensor, _: Tensor) -> Tensor:
    # Imported here: it costs 4 s, as much as torch, and training without this needs no torchvision.
    from torchvision.transforms.v2.functional import equalize  # noqa: PLC0415

    equalized: Tensor = equalize(pixels.round().to(torch.uint8))
    return equalized.float()


OPERATIONS: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    lambda x, _: x,
    lambda x, by: _moved(x, 1, SHEAR * by, 0, 0, 1, 0),
    lambda x, by: _moved(x, 1, 0, 0, SHEAR * by, 1, 0),
    lambda x, by: _moved(x, 1, 0, 2 * SHIFT / x.shape[3] * by, 0, 1, 0),
    lambda x, by: _moved(x, 1, 0, 0, 0, 1, 2 * SHIFT / x.shape[2] * by),
    _turned,
    lambda x, by: x * (1 + FACTOR * by),
    lambda x, by: x.mean(1, keepdim=True).lerp(x, 1 + FACTOR * by),
    lambda x, by: x.mean((1, 2, 3), keepdim=True).lerp(x, 1 + FACTOR * by),
    lambda x, by: _blurred(x).lerp(x, 1 + FACTOR * by),
    _posterized,
    lambda x, by: torch.where(x >= 255 * (1 - by.abs()), 255 - x, x),
    _stretched,
    _equalized,
)
"""Identity; shear, shift by columns and rows; turn; brightness, color, contrast, sharpness;
posterize, solarize, autocontrast, equalize."""
