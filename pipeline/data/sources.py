"""The data sets that `data.name` can name, read as squares of `data.image_size` pixels."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from pipeline.data.downloads import read_download
from pipeline.data.folders import read_image_folder
from pipeline.data.listing import DOWNLOADS
from pipeline.data.params import DataName, DataParams
from pipeline.data.scratch import Scratch
from pipeline.data.source import Source
from pipeline.prepared.facts import RESAMPLING
from pipeline.prepared.labelled import Labelled


def read_source(params: DataParams, scratch: Scratch) -> Source:
    """Read a data set; download it if it is one of torchvision's and missing.

    scratch: where images are kept that had to be decoded or resized.

    Raises:
        DataError: it cannot be downloaded, or the image folder cannot be used.
    """
    source, stored = SOURCES[params.name](params, scratch), params.stored_size

    def fitted(labelled: Labelled, name: str, stored: int | None) -> Labelled:
        return _resize(labelled, params.image_size, stored, scratch, name)

    return replace(
        source,
        train=fitted(source.train, "training", stored),
        validation=source.validation and fitted(source.validation, "validation", stored),
        test=source.test and fitted(source.test, "test", None),
    )


def download(params: DataParams, _scratch: Scratch) -> Source:
    """A data set of torchvision, downloaded if missing."""
    return read_download(params.name, Path(params.path) / DOWNLOADS)


def digits(_params: DataParams, _scratch: Scratch) -> Source:
    """1,797 grey digits of 8x8 pixels, in 17 levels (Alpaydin & Kaynak 1998)."""
    images, labels = load_digits(return_X_y=True)
    grey = np.rint(images.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    return Source(
        name="digits",
        classes=tuple("0123456789"),
        train=Labelled(images=grey, labels=labels.astype(np.int64)),
        test=None,
    )


SOURCES: dict[DataName, Callable[[DataParams, Scratch], Source]] = {
    "digits": digits,
    "cifar10": download,
    "cifar100": download,
    "fashion_mnist": download,
    "svhn": download,
    "image_folder": read_image_folder,
}
"""Function that reads each data set, by its `data.name`; the images may be of any size."""


def _resize(
    labelled: Labelled, size: int, stored: int | None, scratch: Scratch, name: str
) -> Labelled:
    """Return images of `size`, and larger ones if asked; those of an image folder have both."""
    larger = labelled.larger
    if stored is not None and larger is None:
        larger = _resized(labelled.images, stored, scratch, f"larger {name}")
    return replace(labelled, images=_resized(labelled.images, size, scratch, name), larger=larger)


def _resized(
    images: NDArray[np.uint8], size: int, scratch: Scratch, name: str
) -> NDArray[np.uint8]:
    """(N, H, W, C) -> (N, size, size, C), kept on disk; the same array if it has this size."""
    if images.shape[1:3] == (size, size):
        return images
    shape = (len(images), size, size, images.shape[-1])
    return scratch.fill(name, shape, lambda number: _resize_image(images[number], size))[0]


def _resize_image(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """(H, W, C) -> (size, size, C), antialiased."""
    channels = image.shape[-1]
    picture = Image.fromarray(image[..., 0] if channels == 1 else image)
    return np.asarray(picture.resize((size, size), Image.Resampling[RESAMPLING])).reshape(
        size, size, channels
    )
