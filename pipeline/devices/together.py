"""Training in several processes: all run the same path, each on a part of every batch.

torchrun starts them; in a single process, nothing here has an effect. Randomness is counter-based,
so all draw the same paths and batches without communication. They communicate for three sums:
BatchNorm's statistics of the whole batch, the gradients once a step (operations that the path does
not run have none, on any process), and the sums of an evaluation.
"""

import atexit
from contextlib import AbstractContextManager

import torch
from torch import Tensor, distributed

from pipeline.harness import ranks
from pipeline.space.batch_norm import parts_of_a_batch


def meet() -> None:
    """Wait for all processes, each with its current device; call this before anything else here."""
    if ranks.count() > 1 and not distributed.is_initialized():
        distributed.init_process_group()
        atexit.register(distributed.destroy_process_group)


def wait() -> None:
    """Wait until all processes are here."""
    if ranks.count() > 1:
        distributed.barrier()


def share(batch: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, int]:
    """Return this process's part of a batch, and the number of images in all parts.

    If there are fewer than two images per process, every process takes the whole batch.
    """
    if len(labels) < 2 * ranks.count():
        return batch, labels, len(labels) * ranks.count()
    images = batch.tensor_split(ranks.count())[ranks.number()]
    targets = labels.tensor_split(ranks.count())[ranks.number()]
    return images, targets, len(labels)


def is_mine(number: int) -> bool:
    """Whether this process does job `number`; jobs are assigned in turn."""
    return number % ranks.count() == ranks.number()


def add_up(tensors: list[Tensor]) -> None:
    """Replace each tensor by its sum over all processes, in one exchange."""
    if ranks.count() == 1 or not tensors:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    distributed.all_reduce(flat)
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view_as(tensor))


def average(tensors: list[Tensor], weight: float) -> None:
    """Replace each tensor by its weighed mean over all processes, whose weights add up to 1."""
    if ranks.count() > 1:
        for tensor in tensors:
            tensor.mul_(weight)
        add_up(tensors)


def gather(text: str) -> list[str]:
    """Return the texts of all processes, in the order of their ranks."""
    own = torch.tensor(list(text.encode()), dtype=torch.uint8)
    sizes = torch.zeros(ranks.count(), dtype=torch.int64)
    sizes[ranks.number()] = len(own)
    add_up([sizes])
    texts = torch.zeros(ranks.count(), int(sizes.max()), dtype=torch.uint8)
    texts[ranks.number(), : len(own)] = own
    add_up([texts])
    return [bytes(row[:size]).decode() for row, size in zip(texts.tolist(), sizes, strict=True)]


def one_batch() -> AbstractContextManager[None]:
    """Let BatchNorm treat the parts of all processes as one batch."""
    return parts_of_a_batch(add_up if ranks.count() > 1 else None)
