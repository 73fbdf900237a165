"""Images that lie in two splits or in two classes, found by their pixels.

A copy of a training image says nothing about images that nothing has seen before. N images.
"""

from collections.abc import Sequence
from hashlib import blake2b
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from pipeline.console.progress import say
from pipeline.data.params import Duplicates
from pipeline.harness.errors import DataError
from pipeline.harness.showing import shown
from pipeline.prepared.labelled import Labelled, Splits

REMEDY = "remove the copies, or set data.duplicates to keep"


def separate(splits: Splits, classes: Sequence[str], duplicates: Duplicates) -> Splits:
    """Return splits of which no later one has an image of an earlier one; say what was found.

    Raises:
        DataError: there are copies and they are refused, or dropping them leaves a class without
            any image in a split.
    """
    train, validation, test = (
        digests(one) for one in (splits.train, splits.validation, splits.test)
    )
    in_validation = np.isin(validation, train)
    in_test = np.isin(test, np.concatenate([train, validation]))
    found = [
        f"{name}: {copied.sum():,} of {len(copied):,} images are copies of {others} images"
        for name, copied, others in (
            ("validation", in_validation, "training"),
            ("test", in_test, "training or validation"),
        )
        if copied.any()
    ]
    labels = np.concatenate([one.labels for one in (splits.train, splits.validation, splits.test)])
    if several := contradictions(np.concatenate([train, validation, test]), labels):
        found.append(f"{several:,} images lie in more than one class")
    if found and duplicates == "refuse":
        raise DataError("\n".join(f"{line}; {REMEDY}" for line in found))
    for line in found:
        say(f"prepare: {line} (data.duplicates: {duplicates})")
    if duplicates == "keep":
        return splits
    return Splits(
        train=splits.train,
        validation=_without(splits.validation, in_validation, "validation", classes),
        test=_without(splits.test, in_test, "test", classes),
    )


def digests(labelled: Labelled) -> NDArray[np.bytes_]:
    """Return a digest of each image's pixels, (N,)."""
    return np.array(
        [
            blake2b(image.tobytes(), digest_size=16).hexdigest()
            for image in chain.from_iterable(labelled.chunks())
        ],
        dtype="S32",
    )


def contradictions(digests: NDArray[np.bytes_], labels: NDArray[np.int64]) -> int:
    """Return how many different images lie in more than one class. digests, labels: (N,)."""
    pairs = np.unique(np.stack([digests, labels.astype("S32")]), axis=1)
    _, classes = np.unique(pairs[0], return_counts=True)
    return int((classes > 1).sum())


def _without(
    labelled: Labelled, copied: NDArray[np.bool_], name: str, classes: Sequence[str]
) -> Labelled:
    """Return the images that are no copies; raise DataError if a class has none of them."""
    kept = labelled.take(np.flatnonzero(~copied))
    for label in np.unique(labelled.labels):
        if label not in kept.labels:
            raise DataError(
                f"class '{shown(classes[label])}': every {name} image is a copy of another split's;"
                f" {REMEDY}"
            )
    return kept if copied.any() else labelled
