"""Write and read the outputs of `prepare`: three files of images and one of facts.

`train.safetensors`, `validation.safetensors` and `test.safetensors` hold `images` (N, H, W, C)
uint8 and `labels` (N,) int64. `dataset.json` holds the rest, with a sha256 of each of them and of
itself. This module does not import torch, which `prepare` does not need.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from pipeline.harness.errors import DataError
from pipeline.harness.files import write_atomically
from pipeline.harness.records import write_json
from pipeline.prepared.facts import (
    AGAIN,
    CHECKSUM,
    FACTS,
    FORMAT,
    DatasetFacts,
    checksum,
    read_bytes,
    read_facts,
)
from pipeline.prepared.labelled import Labelled, Splits

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def write_dataset(
    folder: Path,
    *,
    name: str,
    classes: tuple[str, ...],
    splits: Splits,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> None:
    """Write the splits, then the facts, so that an interrupted write is never taken for complete.

    Args:
        folder: created if missing. The same splits give the same bytes.
        name: name of the data set.
        classes: names, in the order of the labels.
        splits: images and labels.
        mean: mean of each channel of the training images, as a fraction of 255.
        std: standard deviation, likewise.
    """
    parts = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    digests = {}
    for split, labelled in parts.items():
        content = _encode(labelled)
        write_atomically(folder / f"{split}.safetensors", content)
        digests[split] = hashlib.sha256(content).hexdigest()
    document = {
        "format": FORMAT,
        "name": name,
        "classes": classes,
        "image_shape": splits.train.images.shape[1:],
        "mean": mean,
        "std": std,
        "counts": {split: _counts(labelled, classes) for split, labelled in parts.items()},
        "sha256": digests,
    }
    write_json(folder / FACTS, {**document, CHECKSUM: checksum(document)})


def read_split(folder: Path, split: Split) -> Labelled:
    """Read one split.

    Raises:
        DataError: the file is missing, or differs from what `prepare` wrote.
    """
    facts = read_facts(folder)
    path = folder / f"{split}.safetensors"
    content = read_bytes(path)
    if hashlib.sha256(content).hexdigest() != facts.digests.get(split):
        raise DataError(f"{path}: damaged (its checksum differs from that in {FACTS}); {AGAIN}")
    try:
        return _labelled(safetensors.numpy.load(content), facts, split)
    except (SafetensorError, LookupError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not the images of {FACTS}: {error!r}; {AGAIN}") from None


def _labelled(arrays: Mapping[str, NDArray[Any]], facts: DatasetFacts, split: Split) -> Labelled:
    images, labels = arrays["images"], arrays["labels"]
    shape = (len(labels), facts.height, facts.width, facts.channels)
    if (images.shape, images.dtype) != (shape, np.dtype(np.uint8)):
        raise ValueError(f"{images.dtype} {images.shape}, not uint8 {shape}")
    labelled = Labelled(images=images, labels=labels)
    if _counts(labelled, facts.classes) != facts.counts[split]:
        raise ValueError("the numbers of images per class differ")
    return labelled


def _encode(labelled: Labelled) -> bytes:
    images: NDArray[Any] = np.ascontiguousarray(labelled.images)
    return safetensors.numpy.save({"images": images, "labels": labelled.labels})


def _counts(labelled: Labelled, classes: tuple[str, ...]) -> dict[str, int]:
    counts = np.bincount(labelled.labels, minlength=len(classes)).tolist()
    return dict(zip(classes, counts, strict=True))
