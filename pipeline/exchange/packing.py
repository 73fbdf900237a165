"""What `prepare` hands on: three files of pixels and one of facts.

`train.safetensors`, `validation.safetensors` and `test.safetensors` hold `images` (N, H, W, C)
uint8 and `labels` (N,) int64. `dataset.json` holds the rest, with a sha256 of each of them and of
itself. No torch here: `prepare` needs none.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from pipeline.data.labelled import Labelled
from pipeline.data.splits import Splits
from pipeline.exchange.files import write_atomically
from pipeline.exchange.records import write_json

FORMAT = 1
FACTS = "dataset.json"
CHECKSUM = "sha256_of_this"


def write_dataset(
    folder: Path,
    *,
    name: str,
    classes: tuple[str, ...],
    splits: Splits,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> None:
    """Write the splits, then the facts: a write that was cut short does not pass for whole.

    Args:
        folder: made if it is not there. The same splits give the same bytes.
        name: of the data set.
        classes: their names, in the order of the labels.
        splits: what to write.
        mean: of each channel of the training images, as a fraction of 255.
        std: likewise.
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


def checksum(document: Mapping[str, object]) -> str:
    """Return the sha256 of a JSON document, however it is laid out."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _encode(labelled: Labelled) -> bytes:
    images: NDArray[Any] = np.ascontiguousarray(labelled.images)
    return safetensors.numpy.save({"images": images, "labels": labelled.labels})


def _counts(labelled: Labelled, classes: tuple[str, ...]) -> dict[str, int]:
    counts = np.bincount(labelled.labels, minlength=len(classes)).tolist()
    return dict(zip(classes, counts, strict=True))
