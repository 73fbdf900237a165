"""Augmentation of training images, a batch at a time, on the batch's device.

N images, C channels, H x W pixels; every batch is channels_last.
"""

from math import log

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from pipeline.batches.params import AugmentationParams

WIDER = 4 / 3
"""Largest ratio of width and height of the part that `zoom` scales, for a square image."""


def augment(pixels: Tensor, params: AugmentationParams, generator: Generator) -> Tensor:
    """Frame each image in black, crop it at random and maybe mirror it, in one gather of pixels.

    One CPU core does 200,000 images of 32x32x3 a second; with indexing by image, row and column
    it does 77,000.

    Args:
        pixels: (N, C, H, W) uint8, channels_last.
        params: `crop_padding` and `flip` are used here.
        generator: random source on the device of `pixels`.

    Returns:
        (N, C, H, W) uint8, channels_last.
    """
    N, C, H, W = pixels.shape
    device, padding = pixels.device, params.crop_padding
    framed = F.pad(pixels.permute(0, 2, 3, 1), (0, 0, padding, padding, padding, padding))
    top = torch.randint(2 * padding + 1, (N, 1), generator=generator, device=device)
    left = torch.randint(2 * padding + 1, (N, 1), generator=generator, device=device)
    rows, columns = torch.arange(H, device=device), torch.arange(W, device=device).expand(N, W)
    if params.flip:
        mirrored = torch.rand((N, 1), generator=generator, device=device) < 0.5
        columns = torch.where(mirrored, W - 1 - columns, columns)
    # Index of the first row of each framed image, then of each pixel.
    first = torch.arange(N, device=device)[:, None] * framed.shape[1]
    source = (first + top + rows)[:, :, None] * framed.shape[2] + (left + columns)[:, None, :]
    cropped = framed.reshape(-1, C).index_select(0, source.reshape(-1))
    return cropped.reshape(N, H, W, C).permute(0, 3, 1, 2)


def zoom(pixels: Tensor, *, smallest: float, size: tuple[int, int], generator: Generator) -> Tensor:
    """Scale a random part of each image to a whole image (Szegedy et al. 2015).

    The part is up to a third wider or higher than the image's shape. Each pixel is interpolated
    between four, so no pixel of images up to twice as large is left out.

    Args:
        pixels: (N, C, S, T) uint8 or floats in 0..255, channels_last.
        smallest: smallest part of the area, in (0, 1].
        size: H and W, at least half of S and T.
        generator: random source on the device of `pixels`.

    Returns:
        (N, C, H, W) float32, channels_last.
    """
    N, device = len(pixels), pixels.device

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(N, generator=generator, device=device)

    area, shape = uniform(smallest, 1), uniform(-log(WIDER), log(WIDER)).exp()
    width, height = (area * shape).sqrt().clamp(max=1), (area / shape).sqrt().clamp(max=1)
    parts = torch.zeros(N, 2, 3, device=device)
    parts[:, 0, 0], parts[:, 0, 2] = width, uniform(-1, 1) * (1 - width)
    parts[:, 1, 1], parts[:, 1, 2] = height, uniform(-1, 1) * (1 - height)
    grid = F.affine_grid(parts, [*pixels.shape[:2], *size], align_corners=False)
    zoomed = F.grid_sample(pixels.float(), grid, padding_mode="border", align_corners=False)
    return zoomed.contiguous(memory_format=torch.channels_last)


def recolor(pixels: Tensor, *, strength: float, generator: Generator) -> Tensor:
    """Change brightness, contrast and saturation of each image by random factors.

    Args:
        pixels: (N, C, H, W) uint8 or floats in 0..255.
        strength: largest difference of a factor from 1, in [0, 1).
        generator: random source on the device of `pixels`.

    Returns:
        (N, C, H, W) float32 in 0..255.
    """
    shape = (3, len(pixels), 1, 1, 1)
    draws = torch.rand(shape, generator=generator, device=pixels.device)
    brightness, contrast, saturation = 1 + strength * (2 * draws - 1)
    bright = pixels * brightness
    mean = bright.mean((1, 2, 3), keepdim=True)
    contrasted = mean + contrast * (bright - mean)
    grey = contrasted.mean(1, keepdim=True)
    saturated: Tensor = grey + saturation * (contrasted - grey)
    return saturated.clamp(0, 255)


def cut_out(batch: Tensor, *, side: int, generator: Generator) -> Tensor:
    """Blank one square per image, centred anywhere in it (Cutout; DeVries & Taylor 2017).

    Args:
        batch: (N, C, H, W) normalised, so that 0 is the mean of the training images.
        side: side of the square in pixels; the part outside the image is ignored.
        generator: random source on the device of `batch`.
    """
    N, C, H, W = batch.shape
    rows, columns = (covered(N, length, side, generator).to(batch.dtype) for length in (H, W))
    # Whole rows of floats: a CPU takes half as long as with a truth value for each pixel.
    wide = columns[:, None, :, None].expand(N, 1, W, C).reshape(N, 1, W * C)
    kept = 1 - rows[:, :, None] * wide
    cut = batch.permute(0, 2, 3, 1).reshape(N, H, W * C) * kept
    return cut.view(N, H, W, C).permute(0, 3, 1, 2)


def covered(count: int, length: int, side: int | Tensor, generator: Generator) -> Tensor:
    """Return (count, length), true on a stretch around a random centre.

    side: length of the stretch, of which the part outside is ignored; (count, 1) if they differ.
    """
    device = generator.device
    centre = torch.randint(length, (count, 1), generator=generator, device=device)
    distance = torch.arange(length, device=device) - (centre - side // 2)
    return (distance >= 0) & (distance < side)
