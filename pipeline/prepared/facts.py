"""The facts of a prepared data set: what later stages know without reading an image.

`packing.py` writes them together with the splits. This module does not import torch, which
`prepare` does not need.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, model_validator

from pipeline.harness.errors import DataError, reason
from pipeline.harness.stored import STRICT, Count, Share, Size

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
"""In the order of their images."""
ENLARGED: tuple[Split, ...] = ("train", "validation")
"""The splits whose images may be there in more pixels too, for training."""

FORMAT = 2
FACTS = "dataset.json"
NAMES = "names.json"
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


Level = Annotated[float, Field(gt=0, le=1)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Document(BaseModel):
    """The content of `dataset.json`: what `DatasetFacts` explains, without the checksum."""

    model_config = STRICT

    format: int
    name: str
    classes: Annotated[list[str], Field(min_length=1)]
    image_shape: Annotated[list[Size], Field(min_length=3, max_length=3)]
    fit: Fit
    mean: list[Share]
    std: list[Level]
    counts: dict[str, dict[str, Count]]
    sha256: dict[str, Digest]
    stored_size: Size | None = None
    stored_sha256: dict[str, Digest] = {}

    @model_validator(mode="after")
    def _require_agreement(self) -> Self:
        if not len(self.mean) == len(self.std) == self.image_shape[2]:
            raise ValueError("expected one mean and one std per channel")
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("a class is named twice")
        if set(self.counts) != set(SPLITS) or set(self.sha256) - {NAMES} != set(SPLITS):
            raise ValueError("expected counts and a digest of each split")
        larger = set() if self.stored_size is None else set(ENLARGED)
        if set(self.stored_sha256) != larger:
            raise ValueError("expected a digest of the larger images of each split, or no size")
        if any(list(counts) != self.classes for counts in self.counts.values()):
            raise ValueError("the counts are not of these classes")
        return self


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
        raise DataError(f"{path}: format {found!r}, this version reads {FORMAT}; {AGAIN}")
    if digest != checksum(document):
        raise DataError(f"{path}: damaged or edited (its checksum differs); {AGAIN}")
    try:
        given = Document.model_validate(document)
    except ValueError as error:
        raise DataError(f"{path}: not the facts of a data set: {reason(error)}; {AGAIN}") from None
    height, width, channels = given.image_shape
    return DatasetFacts(
        name=given.name,
        classes=tuple(given.classes),
        height=height,
        width=width,
        channels=channels,
        fit=given.fit,
        mean=tuple(given.mean),
        std=tuple(given.std),
        counts=given.counts,
        digests=given.sha256,
        stored_size=given.stored_size,
        stored_digests=given.stored_sha256,
    )


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
