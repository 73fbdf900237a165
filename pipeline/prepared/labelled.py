"""Images with their labels: plain numpy, so that `prepare` needs no torch.

N images, H x W pixels, C channels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """images: (N, H, W, C) uint8. labels: (N,) int64, an index into the classes."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        assert self.images.ndim == 4
        assert self.labels.shape == self.images.shape[:1]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """Weights learn from `train`, the architecture from `validation`; `test` is used once."""

    train: Labelled
    validation: Labelled
    test: Labelled
