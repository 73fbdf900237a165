"""Retries in smaller parts for steps that run out of memory.

The gradients of the parts of a batch add up to that of the batch, except for rounding and
BatchNorm: each part is normalised by its own statistics, as on several devices, and updates the
running statistics in turn.
"""

import gc
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from pipeline.console.progress import say
from pipeline.harness import ranks
from pipeline.harness.lacks import is_lack_of_memory

T = TypeVar("T")


def within_memory(compute: Callable[[int], T], images: int) -> tuple[T, int]:
    """Return `compute(images)` and `images`, which is halved each time memory runs out.

    compute: starts from the beginning each time; side effects of a failed call remain (after a
    weight step, BatchNorm's running statistics may have seen some images twice).
    images: largest number of images at a time.

    Raises:
        MemoryError, RuntimeError: raised by `compute`, if not even one image at a time fits; at
            once if several processes train together.
    """
    while True:
        try:
            return compute(images), images
        except (MemoryError, RuntimeError) as error:
            # Other processes would wait forever for this one's part.
            if images == 1 or ranks.count() > 1 or not is_lack_of_memory(error):
                raise
        # Outside the handler: inside, the error's traceback still holds the attempt's memory.
        release()
        images = (images + 1) // 2
        say(f"out of memory: going on with {images} images at a time")


def at_a_time(saved: int, batch_size: int) -> int:
    """Return the number of images at a time of a resumed run.

    Several processes take their whole shares: if these were split by `saved`, a larger share could
    have more parts than the other processes wait for.

    Raises:
        ValueError: no batch is so large.
    """
    if not 1 <= saved <= batch_size:
        raise ValueError(f"{saved} images at a time, expected 1 to {batch_size}")
    return batch_size if ranks.count() > 1 else saved


def release() -> None:
    """Free the memory of a failed attempt."""
    gc.collect()
    if (device := torch.accelerator.current_accelerator(check_available=True)) is not None:
        (torch.mps if device.type == "mps" else torch.accelerator).empty_cache()


def parts(batch: Tensor, labels: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (N, ...) images and (N,) labels in equal parts of at most `size` + 1 images.

    One more than `size`, because BatchNorm fails on a part of one image.
    """
    count = max(1, -(-(len(labels) - 1) // size))
    return zip(batch.tensor_split(count), labels.tensor_split(count), strict=True)
