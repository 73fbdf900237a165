"""Images mixed in pairs: mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019).

N images, C channels, H x W pixels.
"""

import torch
from torch import Generator, Tensor

from pipeline.batches.augmentation import covered


def mix(
    batch: Tensor, *, mixup: float, cutmix: float, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Mix each image with its partner; it keeps the larger share, so its own label is the likelier.

    Args:
        batch: (N, C, H, W) normalised, in random order.
        mixup: both parameters of the Beta distribution of the shares in mixup; 0: off.
        cutmix: the same for CutMix; with both, each image is mixed in one of the two ways at
            random. At least one is above 0.
        generator: random source on the device of `batch`.

    Returns:
        (N, C, H, W) mixed images, channels_last, and (N,) the share of each that is its own, in
        [0.5, 1].
    """
    N, _, H, W = batch.shape
    ways = []
    if mixup:
        share = _larger_shares(N, mixup, generator)
        ways.append(share[:, None, None, None].expand(N, 1, H, W))
    if cutmix:
        part = (1 - _larger_shares(N, cutmix, generator)).sqrt()[:, None]
        rows, columns = (covered(N, length, (length * part).long(), generator) for length in (H, W))
        ways.append((~(rows[:, None, :, None] & columns[:, None, None, :])).float())
    own = ways[0]
    if len(ways) > 1:
        heads = torch.rand((N, 1, 1, 1), generator=generator, device=batch.device) < 0.5
        own = own.where(heads, ways[1])
    mixed = partners(batch).lerp(batch, own).contiguous(memory_format=torch.channels_last)
    return mixed, own.mean((1, 2, 3)).clamp(0.5, 1)  # a mean of equal shares is rounded


def partners(rows: Tensor) -> Tensor:
    """Return for each image the row of the one that it is mixed with: the one before it."""
    return rows.roll(1, 0)


def _larger_shares(count: int, alpha: float, generator: Generator) -> Tensor:
    """Draw (count,) shares, the larger of two that add up to 1 and have a Beta distribution."""
    both = torch.full((count, 2), alpha, device=generator.device)
    # torch.distributions.Beta draws from the same function, but takes no generator.
    return torch._sample_dirichlet(both, generator).amax(1)  # noqa: SLF001
