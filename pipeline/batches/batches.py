"""The batches that training and evaluation take from a split.

There are no workers: a whole split is in memory, on the device if it fits, and a batch takes a few
operations that never wait for the device.
N images, C channels, H x W pixels; everything is channels_last.
"""

from collections.abc import Iterator

import torch
from torch import Generator, Tensor

from pipeline.batches.augmentation import augment, cut_out, recolor, zoom
from pipeline.batches.images import Images
from pipeline.batches.params import AugmentationParams
from pipeline.batches.randomness import generator
from pipeline.batches.trivial import trivial_augment


def training_batches(
    images: Images,
    *,
    batch_size: int,
    augmentation: AugmentationParams,
    seed: int,
    purpose: tuple[str | int, ...],
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield every image once, in random order and augmented.

    A batch is (N, C, H, W) float32, normalised, and its (N,) labels. If the images are there in
    more pixels too, the zoom cuts its parts from these.

    purpose: what the randomness is for, e.g. ("search", epoch); equal purposes give equal batches.
    """
    device = images.device
    order = training_order(images, batch_size=batch_size, seed=seed, purpose=purpose)
    H, W = images.pixels.shape[2:]
    rows = images.drawn.permute(0, 2, 3, 1)  # images as contiguous rows: 20 times faster to pick
    for step, indices in enumerate(order):
        source = generator(seed, *purpose, "augment", step, device=device)
        picked = _sent(rows.index_select(0, indices), device)
        pixels = augment(picked.permute(0, 3, 1, 2), augmentation, source)
        if augmentation.zoom < 1:
            pixels = zoom(pixels, smallest=augmentation.zoom, size=(H, W), generator=source)
        if augmentation.color:
            pixels = recolor(pixels, strength=augmentation.color, generator=source)
        if augmentation.trivial:
            pixels = trivial_augment(pixels, generator(seed, *purpose, "trivial", step))
        batch = _normalised(pixels, images)
        if augmentation.cutout:
            batch = cut_out(batch, side=augmentation.cutout, generator=source)
        yield batch, images.labels.index_select(0, indices.to(device))


def training_order(
    images: Images, *, batch_size: int, seed: int, purpose: tuple[str | int, ...]
) -> tuple[Tensor, ...]:
    """Return the indices of the images in each of those batches: (N,), beside what is drawn."""
    # Drawn on the CPU, so that the order is the same for every device; copied once.
    shuffle = generator(seed, *purpose, "shuffle")
    return batch_indices(len(images), batch_size, shuffle, images.drawn.device)


def evaluation_batches(images: Images, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield every image once, in order, unchanged: (N, C, H, W) float32 normalised, (N,) labels.

    Batch sizes differ by at most one image: paths are evaluated with the statistics of their batch,
    and those of a short last batch would be poor.
    """
    count = len(images)
    batches = max(1, min(-(-count // batch_size), count // 2))
    parts = images.pixels.tensor_split(batches), images.labels.tensor_split(batches)
    for pixels, labels in zip(*parts, strict=True):
        yield _normalised(_sent(pixels, images.device), images), labels


def _sent(pixels: Tensor, device: torch.device) -> Tensor:
    """Return pixels on a device; the host does not wait until those that it has are copied."""
    if pixels.device.type == device.type:
        return pixels
    can_lock = torch.accelerator.is_available() and device.type != "mps"
    return (pixels.pin_memory() if can_lock else pixels).to(device, non_blocking=True)


def _normalised(pixels: Tensor, images: Images) -> Tensor:
    """Return what `normalise` does, with a row of pixels as one channel: five times as fast.

    A CPU computes along the last axis, which has three numbers if a pixel is one.
    """
    N, C, H, W = pixels.shape
    rows = pixels.permute(0, 2, 3, 1).reshape(N * H, W * C, 1, 1)
    normal = normalise(rows, images.mean.repeat(W), images.std.repeat(W))
    return normal.view(N, H, W, C).permute(0, 3, 1, 2)


def normalise(pixels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return (pixels / 255 - mean) / std as float32, channels_last if `pixels` is.

    pixels: (N, C, H, W), uint8 or floats in 0..255. mean, std: (C,), as fractions of 255.
    """
    centred = pixels - (255 * mean)[:, None, None]
    return centred.mul_((1 / (255 * std))[:, None, None])


def batch_indices(
    count: int, batch_size: int, shuffle: Generator, device: torch.device | str = "cpu"
) -> tuple[Tensor, ...]:
    """Cut a random permutation of `count` images into batches; the last may be smaller, never 1."""
    order = torch.randperm(count, generator=shuffle).to(device)
    return torch.split(order, batch_sizes(count, batch_size))


def batch_sizes(count: int, batch_size: int) -> list[int]:
    """Return sizes that add up to `count`; a last single image joins the batch before it.

    BatchNorm fails on one value per channel, which a single image of 1x1 pixels has.
    """
    whole, rest = divmod(count, batch_size)
    sizes = [batch_size] * whole
    if rest == 1 and sizes:
        sizes[-1] += 1
    elif rest:
        sizes.append(rest)
    return sizes
