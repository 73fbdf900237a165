"""A split of what `prepare` wrote: on the device, or mapped from its file.

N images, C channels, H x W pixels; everything is channels_last.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from pipeline.batches.room import free_bytes
from pipeline.console.progress import say
from pipeline.prepared.facts import Split, read_facts
from pipeline.prepared.packing import read_larger, read_split


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """The images and labels of one split.

    pixels: (N, C, H, W) uint8, channels_last, on the device, or on the host if memory is short;
    on the CPU they are mapped from the file, so that more of them than memory holds are no error.
    labels: (N,) int64. mean, std: (C,) float32, of the training split, as fractions of 255.
    larger: (N, C, S, S), the same images in more pixels, for training; None: there are none.
    """

    pixels: Tensor
    labels: Tensor
    mean: Tensor
    std: Tensor
    larger: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, which: slice) -> "Images":
        """Return some of the images."""
        return replace(
            self,
            pixels=self.pixels[which],
            labels=self.labels[which],
            larger=None if self.larger is None else self.larger[which],
        )

    @property
    def drawn(self) -> Tensor:
        """What training takes its parts from: the larger images, if there are any."""
        return self.pixels if self.larger is None else self.larger

    @property
    def device(self) -> torch.device:
        """Device on which batches are made."""
        return self.labels.device


def read_images(
    folder: Path, split: Split, device: torch.device | str, *, through: Split | None = None
) -> Images:
    """Read one split, or several as one, for batches on a device.

    through: the last of several splits.

    Raises:
        DataError: as `read_split` does.
    """
    facts, labelled = read_facts(folder), read_split(folder, split, through=through)
    images = _near(torch.from_numpy(labelled.images), torch.device(device))
    return Images(
        pixels=images.permute(0, 3, 1, 2),
        labels=torch.from_numpy(labelled.labels).to(device),
        mean=torch.tensor(facts.mean, device=device),
        std=torch.tensor(facts.std, device=device),
    )


def read_training_images(
    folder: Path, split: Split, device: torch.device | str, *, through: Split | None = None
) -> Images:
    """Read one split, or several as one, as `read_images` does, for `training_batches`.

    They are there in more pixels too if `data.stored_size` says so.
    """
    images = read_images(folder, split, device, through=through)
    found = read_larger(folder, split, through=through)
    if found is None:
        return images
    larger = _near(torch.from_numpy(found), torch.device(device))
    return replace(images, larger=larger.permute(0, 3, 1, 2))


def _near(images: Tensor, device: torch.device) -> Tensor:
    """Move images to a device if they take at most half of its free memory.

    Else they stay on the host, and each batch is copied.
    """
    if device.type == "cpu":
        return images
    if images.nbytes <= free_bytes(device) / 2:
        return images.to(device)
    say(f"{images.nbytes / 2**30:.1f} GiB of images stay in host memory, {device} is too small")
    return images
