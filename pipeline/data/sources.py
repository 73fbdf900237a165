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
    source, size = SOURCES[params.name](params, scratch), params.image_size
    return replace(
        source,
        train=_resize(source.train, size, scratch, "training"),
        validation=source.validation and _resize(source.validation, size, scratch, "validation"),
        test=source.test and _resize(source.test, size, scratch, "test"),
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


def _resize(labelled: Labelled, size: int, scratch: Scratch, name: str) -> Labelled:
    """Return images of `size`; those of an image folder have it already."""
    images = labelled.images
    if images.shape[1:3] == (size, size):
        return labelled
    shape = (len(images), size, size, images.shape[-1])
    resized, _ = scratch.fill(name, shape, lambda number: _resize_image(images[number], size))
    return Labelled(images=resized, labels=labelled.labels)


def _resize_image(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """(H, W, C) -> (size, size, C), antialiased."""
    channels = image.shape[-1]
    picture = Image.fromarray(image[..., 0] if channels == 1 else image)
    return np.asarray(picture.resize((size, size), Image.Resampling[RESAMPLING])).reshape(
        size, size, channels
    )
