"""Images with their labels: plain numpy, so that `prepare` needs no torch.

N images, H x W pixels, C channels.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CHUNK_BYTES = 2**24
"""Bytes of images that are held at once while many are gone through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """N of the images of an array, which may be mapped from a file larger than memory.

    images: (M, H, W, C) uint8. labels: (N,) int64, an index into the classes. rows: (N,) int64,
    place of each image in `images`; None: all of them, in order. names: names of the images' files,
    or None if they have none. larger: (M, S, S, C) uint8, the same images in more pixels, or None.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    rows: NDArray[np.int64] | None = None
    names: tuple[str, ...] | None = None
    larger: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        assert self.images.ndim == 4
        assert self.labels.shape == (self.images if self.rows is None else self.rows).shape[:1]
        assert self.names is None or len(self.names) == len(self.labels)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, places: NDArray[np.int64]) -> "Labelled":
        """Return the images at these places, in their order; no pixel is copied."""
        return Labelled(
            images=self.images,
            labels=self.labels[places],
            rows=places if self.rows is None else self.rows[places],
            names=None if self.names is None else tuple(self.names[one] for one in places),
            larger=self.larger,
        )

    def enlarged(self) -> "Labelled":
        """Return the same images with `larger` as their pixels."""
        assert self.larger is not None
        return Labelled(images=self.larger, labels=self.labels, rows=self.rows)

    def chunks(self) -> Iterator[NDArray[np.uint8]]:
        """Yield all images in order, (n, H, W, C), a few megabytes at a time."""
        count = max(1, CHUNK_BYTES // max(1, self.images[:1].nbytes))
        for start in range(0, len(self), count):
            part = slice(start, start + count)
            yield self.images[part] if self.rows is None else self.images[self.rows[part]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """Weights learn from `train`, the architecture from `validation`; `test` is used once."""

    train: Labelled
    validation: Labelled
    test: Labelled
