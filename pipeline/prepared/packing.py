"""Write and read the outputs of `prepare`: files of images, one of facts, one of names.

`images.safetensors` holds `labels` (N,) int64 and `images` (N, H, W, C) uint8 of all splits, one
after the other, so that several are read as one without a copy. `dataset.json` holds the rest, with
a sha256 of the labels and pixels of each split, and of itself. `larger.safetensors` is there if
training has larger images: it is like the first, without the test split. This module does not
import torch, which `prepare` does not need.
"""

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.harness.errors import DataError
from pipeline.harness.files import write_atomically, write_in_parts
from pipeline.harness.records import write_json
from pipeline.prepared.facts import (
    AGAIN,
    CHECKSUM,
    ENLARGED,
    FACTS,
    FORMAT,
    NAMES,
    SPLITS,
    DatasetFacts,
    Fit,
    Split,
    checksum,
    read_facts,
    sha256,
)
from pipeline.prepared.labelled import Labelled, Splits
from pipeline.prepared.names import encode_names

IMAGES, LARGER = "images.safetensors", "larger.safetensors"


def write_dataset(
    folder: Path,
    *,
    name: str,
    classes: tuple[str, ...],
    splits: Splits,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    fit: Fit = "crop",
) -> None:
    """Write the splits, then the facts, so that an interrupted write is never taken for complete.

    Args:
        folder: created if missing. The same splits give the same bytes.
        name: name of the data set.
        classes: names, in the order of the labels.
        splits: images and labels; a few megabytes of pixels at a time are copied to memory.
        mean: mean of each channel of the training images, as a fraction of 255.
        std: standard deviation, likewise.
        fit: how the images became squares.
    """
    parts: dict[Split, Labelled] = {
        "train": splits.train,
        "validation": splits.validation,
        "test": splits.test,
    }
    shape = splits.train.images.shape[1:]
    digests: dict[str, str] = {}
    write_in_parts(folder / IMAGES, _encode(parts, digests))
    stored: dict[str, object] = {}
    if splits.train.larger is not None:
        of_larger: dict[str, str] = {}
        enlarged = {split: parts[split].enlarged() for split in ENLARGED}
        write_in_parts(folder / LARGER, _encode(enlarged, of_larger))
        stored = {"stored_size": splits.train.larger.shape[1], "stored_sha256": of_larger}
    names = {split: one.names for split, one in parts.items() if one.names is not None}
    if names:
        content = encode_names(names)
        write_atomically(folder / NAMES, content)
        digests[NAMES] = sha256(content)
    document = {
        "format": FORMAT,
        "name": name,
        "classes": classes,
        "image_shape": shape,
        "fit": fit,
        "mean": mean,
        "std": std,
        "counts": {split: _counts(one.labels, classes) for split, one in parts.items()},
        "sha256": digests,
        **stored,
    }
    write_json(folder / FACTS, {**document, CHECKSUM: checksum(document)})


def read_split(folder: Path, split: Split, *, through: Split | None = None) -> Labelled:
    """Map the images of one split, or of several that follow each other, after checking them.

    through: the last of several splits.

    Raises:
        DataError: a file is missing, or differs from what `prepare` wrote.
    """
    return _read(folder / IMAGES, read_facts(folder), split, through or split)


def read_larger(
    folder: Path, split: Split, *, through: Split | None = None
) -> NDArray[np.uint8] | None:
    """Map the larger images of one or more splits, (N, S, S, C), or return None without any.

    Raises:
        DataError: as `read_split` does.
    """
    facts = read_facts(folder).enlarged
    if facts is None:
        return None
    return _read(folder / LARGER, facts, split, through or split).images


def _read(path: Path, facts: DatasetFacts, first: Split, last: Split) -> Labelled:
    try:
        return _checked(path, facts, SPLITS[SPLITS.index(first) : SPLITS.index(last) + 1])
    except (LookupError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not the images of {FACTS}: {error!r}; {AGAIN}") from None


def _checked(path: Path, facts: DatasetFacts, splits: tuple[Split, ...]) -> Labelled:
    labels, images = _map(path, facts)
    starts = dict(zip(SPLITS, np.cumsum([0, *map(facts.images, SPLITS)]), strict=False))
    for split in splits:
        part = slice(starts[split], starts[split] + facts.images(split))
        one = Labelled(images=images[part], labels=labels[part])
        if _digest(one) != facts.digests[split]:
            raise DataError(f"{path}: damaged (its checksum differs from that in {FACTS}); {AGAIN}")
        if _counts(one.labels, facts.classes) != facts.counts[split]:
            raise ValueError("the numbers of images per class differ")
    part = slice(starts[splits[0]], starts[splits[-1]] + facts.images(splits[-1]))
    return Labelled(images=images[part], labels=np.array(labels[part]))


def _encode(
    parts: Mapping[Split, Labelled], digests: dict[str, str]
) -> Iterator[bytes | memoryview]:
    """Yield the content of the file, and put the digest of each split into `digests`."""
    yield _header(sum(map(len, parts.values())), parts["train"].images.shape[1:])
    for one in parts.values():
        yield np.ascontiguousarray(one.labels).data
    for name, one in parts.items():
        digest = hashlib.sha256(np.ascontiguousarray(one.labels).data)
        for chunk in one.chunks():
            pixels = np.ascontiguousarray(chunk).data
            digest.update(pixels)
            yield pixels
        digests[name] = digest.hexdigest()


def _map(path: Path, facts: DatasetFacts) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Return all labels and images as arrays that are mapped from the file."""
    shape = (facts.height, facts.width, facts.channels)
    count = sum(map(facts.images, SPLITS))
    header = _header(count, shape)
    middle = len(header) + 8 * count
    try:
        with path.open("rb") as file:
            if file.read(len(header)) != header:
                raise DataError(f"{path}: not the images of {FACTS}; {AGAIN}")
            # A private map: torch takes only arrays that can be written to.
            content = np.memmap(file, np.uint8, mode="c")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read: {reason}; {AGAIN}") from None
    if len(content) != middle + count * int(np.prod(shape)):
        raise DataError(f"{path}: damaged (its length differs from that in {FACTS}); {AGAIN}")
    labels = np.frombuffer(content[len(header) : middle].tobytes(), np.int64)
    return labels, content[middle:].reshape(count, *shape)


def _header(count: int, shape: tuple[int, ...]) -> bytes:
    """Return how a safetensors file of `count` labels and images begins, which is all it says."""
    middle = 8 * count
    end = middle + count * int(np.prod(shape))
    tensors = {
        "labels": {"dtype": "I64", "shape": [count], "data_offsets": [0, middle]},
        "images": {"dtype": "U8", "shape": [count, *shape], "data_offsets": [middle, end]},
    }
    text = json.dumps(tensors, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def _digest(labelled: Labelled) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(labelled.labels).data)
    for chunk in labelled.chunks():
        digest.update(np.ascontiguousarray(chunk).data)
    return digest.hexdigest()


def _counts(labels: NDArray[np.int64], classes: tuple[str, ...]) -> dict[str, int]:
    counts = np.bincount(labels, minlength=len(classes)).tolist()
    return dict(zip(classes, counts, strict=True))
