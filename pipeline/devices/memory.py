"""Where memory is used up: the same step in smaller parts.

The sum of the gradients of the parts of a batch is that of the whole but for rounding, except that
BatchNorm knows only the images that it sees together: a part is normalised by its own statistics,
as on several devices, and running statistics see each part in turn.
"""

import gc
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from pipeline.console.progress import say
from pipeline.harness import ranks
from pipeline.harness.errors import is_lack_of_memory

T = TypeVar("T")


def within_memory(compute: Callable[[int], T], images: int) -> tuple[T, int]:
    """Return `compute(images)` and `images`, halved as often as that finds too little memory.

    compute: begins anew each time; what it leaves behind when it fails stays (of a weight step,
    running statistics of BatchNorm that have seen some images twice).
    images: how many it may take at a time.

    Raises:
        MemoryError, RuntimeError: of `compute`, if not even one image at a time fits; at once where
            several processes train together.
    """
    while True:
        try:
            return compute(images), images
        except (MemoryError, RuntimeError) as error:
            # Of several processes the others would wait for this one's part for ever.
            if images == 1 or ranks.count() > 1 or not is_lack_of_memory(error):
                raise
        # Not in the handler: there the error's traceback holds what the attempt had allocated.
        release()
        images = (images + 1) // 2
        say(f"out of memory: going on with {images} images at a time")


def at_a_time(saved: int, batch_size: int) -> int:
    """Return how many images at a time a resumed run takes.

    Several processes take all of their shares: in parts of as many images a larger share would have
    more parts than the others wait for.
    """
    return batch_size if ranks.count() > 1 else saved


def release() -> None:
    """Give back what a failed attempt had allocated."""
    gc.collect()
    if torch.accelerator.is_available():
        torch.accelerator.empty_cache()


def parts(batch: Tensor, labels: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (N, ...) images and (N,) labels in equal parts of at most `size` + 1 images.

    One more, as in a batch that took in a last single image: BatchNorm wants no part of one.
    """
    count = max(1, -(-(len(labels) - 1) // size))
    return zip(batch.tensor_split(count), labels.tensor_split(count), strict=True)
