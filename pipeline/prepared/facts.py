"""The facts of a prepared data set: what later stages know without reading an image.

`packing.py` writes them together with the splits. This module does not import torch, which
`prepare` does not need.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from pipeline.harness.errors import DataError

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
"""In the order of their images."""
ENLARGED: tuple[Split, ...] = ("train", "validation")
"""The splits whose images may be there in more pixels too, for training."""

FORMAT = 2
FACTS = "dataset.json"
CHECKSUM = "sha256_of_this"
Fit = Literal["crop", "pad"]
"""How an image becomes a square: it is cropped at the centre, or padded with black."""
RESAMPLING = "BICUBIC"
"""Name of the Pillow filter that resizes images; Pillow applies it with antialiasing."""
AGAIN = "run 'dvc repro --force prepare' to write it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFacts:
    """What is known of a data set without reading an image.

    classes: names, in the order of the labels. height, width: sides in pixels. fit: how images got
    this shape. mean, std: statistics of each channel of the training images, as fractions of 255.
    counts: split -> class -> number of images. digests: sha256 of each split's labels and pixels,
    and of `names.json` if there is one. stored_size, stored_digests: side and digests of the larger
    images; None and nothing without any.
    """

    name: str
    classes: tuple[str, ...]
    height: int
    width: int
    channels: int
    fit: Fit
    mean: tuple[float, ...]
    std: tuple[float, ...]
    counts: Mapping[str, Mapping[str, int]]
    digests: Mapping[str, str]
    stored_size: int | None = None
    stored_digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def enlarged(self) -> "DatasetFacts | None":
        """The facts of the larger images, if there are any."""
        if self.stored_size is None:
            return None
        return replace(
            self,
            height=self.stored_size,
            width=self.stored_size,
            counts={split: self.counts[split] if split in ENLARGED else {} for split in SPLITS},
            digests=self.stored_digests,
        )

    def images(self, split: Split) -> int:
        """Number of images of a split."""
        return sum(self.counts[split].values())


def read_facts(folder: Path) -> DatasetFacts:
    """Read the facts of a prepared data set.

    Raises:
        DataError: the file is missing, damaged or of another format.
    """
    path = folder / FACTS
    try:
        document = json.loads(read_bytes(path))
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
            raise ValueError("expected one mean and one std per channel")  # noqa: TRY301
        if document["fit"] not in get_args(Fit):
            raise ValueError(f"fit {document['fit']!r}")  # noqa: TRY301
        return DatasetFacts(
            name=document["name"],
            classes=tuple(document["classes"]),
            height=height,
            width=width,
            channels=channels,
            fit=document["fit"],
            mean=tuple(map(float, document["mean"])),
            std=tuple(map(float, document["std"])),
            counts=document["counts"],
            digests=dict(document["sha256"]),
            stored_size=document.get("stored_size"),
            stored_digests=dict(document.get("stored_sha256", {})),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not the facts of a data set: {error!r}; {AGAIN}") from None


def read_bytes(path: Path) -> bytes:
    """Read a file of a prepared data set; raise DataError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; {AGAIN}") from None


def sha256(content: bytes) -> str:
    """Return the sha256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def checksum(document: Mapping[str, object]) -> str:
    """Return the sha256 of a JSON document, whatever its layout."""
    return sha256(json.dumps(document, sort_keys=True).encode())
