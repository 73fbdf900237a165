"""The prepared data set, as every later stage reads it: facts, and splits on the device.

`pipeline/exchange/packing.py` says what lies in the folder.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from pipeline.data.batches import Images
from pipeline.errors import DataError
from pipeline.exchange.packing import CHECKSUM, FACTS, FORMAT, checksum
from pipeline.exchange.progress import say

AGAIN = "run 'dvc repro --force prepare' to write it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFacts:
    """What is known of a data set without looking at an image.

    classes: names, in the order of the labels. height, width: pixels.
    mean, std: of each channel of the training images, as fractions of 255.
    counts: split -> class -> number of images. digests: split -> sha256 of its file.
    """

    name: str
    classes: tuple[str, ...]
    height: int
    width: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    counts: Mapping[str, Mapping[str, int]]
    digests: Mapping[str, str]


def read_facts(folder: Path) -> DatasetFacts:
    """Read the facts of a prepared data set.

    Raises:
        DataError: missing, damaged or of another format.
    """
    path = folder / FACTS
    try:
        document = json.loads(_read(path))
        found, digest = document["format"], document.pop(CHECKSUM, None)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise DataError(f"{path}: not the facts of a data set; {AGAIN}") from None
    if found != FORMAT:
        raise DataError(f"{path}: format {found}, this version reads {FORMAT}; {AGAIN}")
    if digest != checksum(document):
        raise DataError(f"{path}: damaged or edited (its checksum differs); {AGAIN}")
    try:
        height, width, channels = document["image_shape"]
        if not len(document["mean"]) == len(document["std"]) == channels:
            raise ValueError("mean or std is not of each channel")  # noqa: TRY301
        return DatasetFacts(
            name=document["name"],
            classes=tuple(document["classes"]),
            height=height,
            width=width,
            channels=channels,
            mean=tuple(document["mean"]),
            std=tuple(document["std"]),
            counts=document["counts"],
            digests=dict(document["sha256"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not the facts of a data set: {error!r}; {AGAIN}") from None


def read_images(
    folder: Path, split: Literal["train", "validation", "test"], device: torch.device | str
) -> Images:
    """Read one split for batches on a device.

    Raises:
        DataError: missing, or not the very bytes that `prepare` wrote.
    """
    facts = read_facts(folder)
    path = folder / f"{split}.safetensors"
    content = _read(path)
    if hashlib.sha256(content).hexdigest() != facts.digests.get(split):
        raise DataError(f"{path}: damaged (its checksum differs from that in {FACTS}); {AGAIN}")
    try:
        return _images(safetensors.torch.load(content), facts, split, device)
    except (SafetensorError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{path}: not the images of {FACTS}: {error!r}; {AGAIN}") from None


def _images(
    tensors: Mapping[str, Tensor], facts: DatasetFacts, split: str, device: torch.device | str
) -> Images:
    images, labels = tensors["images"], tensors["labels"]
    shape = (len(labels), facts.height, facts.width, facts.channels)
    counts = [facts.counts[split][name] for name in facts.classes]
    if (images.shape, images.dtype) != (shape, torch.uint8):
        raise ValueError(f"{images.dtype} {tuple(images.shape)}, not uint8 {shape}")
    if torch.bincount(labels, minlength=len(counts)).tolist() != counts:
        raise ValueError("other numbers of images")
    return Images(
        pixels=_near(images, torch.device(device)).permute(0, 3, 1, 2),
        labels=labels.to(device),
        mean=torch.tensor(facts.mean, device=device),
        std=torch.tensor(facts.std, device=device),
    )


def _near(images: Tensor, device: torch.device) -> Tensor:
    """Move images to a device if they take at most half of what is free there.

    Else they stay on the host, and each batch is copied.
    """
    if device.type == "cpu":
        return images
    if images.nbytes <= torch.accelerator.get_memory_info(device)[0] / 2:
        return images.to(device)
    say(f"{images.nbytes / 2**30:.1f} GiB of images stay in host memory, {device} is too small")
    return images.pin_memory()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; {AGAIN}") from None
