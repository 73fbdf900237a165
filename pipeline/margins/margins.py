"""Margins: by how much a network prefers an image's label to every other class.

The mean over the epochs of a training is the area under the margin (AUM; Pleiss et al. 2020): it is
low where an image pulls against all that look like it, as a mislabelled one does. A network that
has learnt an image by heart no longer shows it, but the epochs before do.

N images, K classes.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from pipeline.harness.errors import CheckpointError
from pipeline.harness.files import write_atomically
from pipeline.space.checkpoint import decode, encode
from pipeline.space.description import AGAIN


def margins(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return each image's margin, and the class that is most likely besides its label.

    A margin is the logit of the label minus the largest other one. logits: (N, K). labels: (N,).
    """
    logits, own = logits.float(), labels[:, None]
    largest, other = logits.scatter(1, own, -torch.inf).max(1)
    return logits.gather(1, own).squeeze(1) - largest, other


def write_margins(path: Path, by_split: Mapping[str, Tensor]) -> None:
    """Write the mean margins of the images of each split that was trained on, (N,) each."""
    write_atomically(path, encode(by_split, {}))


def read_margins(path: Path, sizes: Mapping[str, int]) -> dict[str, Tensor]:
    """Return what `write_margins` wrote. sizes: split -> its number of images.

    Raises:
        CheckpointError: the file is missing, damaged, or of other images.
    """
    found, _ = decode(path)
    if {split: tuple(one.shape) for split, one in found.items()} != {
        split: (size,) for split, size in sizes.items()
    }:
        raise CheckpointError(f"{path}: not of the images that were trained on; {AGAIN}")
    return found
