"""The data sets of torchvision, read offline if their files are there, else downloaded."""

from collections.abc import Iterable
from http.client import HTTPException
from pathlib import Path

import numpy as np

from pipeline.data.source import Source
from pipeline.harness.errors import DataError
from pipeline.prepared.labelled import Labelled

FILES = {
    "cifar10": "cifar-10-python.tar.gz",
    "cifar100": "cifar-100-python.tar.gz",
    "fashion_mnist": "the four *-ubyte.gz files, in FashionMNIST/raw,",
    "svhn": "train_32x32.mat and test_32x32.mat",
}
"""Files that a person without a network puts into the folder."""


def read_download(name: str, folder: Path) -> Source:
    """Read one of the sets in `FILES`.

    Some files are pickles; torchvision opens one only after it has verified the published checksum.

    Raises:
        DataError: the files are missing and cannot be downloaded, or are damaged.
    """
    try:
        train, classes = _read(name, folder, train=True)
        test, _ = _read(name, folder, train=False)
    except (OSError, HTTPException, RuntimeError, ValueError, AssertionError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{name}: not found intact in {folder}, and not downloaded to it ({reason});"
            f" put {FILES[name]} there by hand"
        ) from None
    return Source(name=name, classes=classes, train=train, test=test)


def _read(name: str, folder: Path, *, train: bool) -> tuple[Labelled, tuple[str, ...]]:
    # Imported here: it costs 5 s, and `prepare` on any other data needs no torch.
    from torchvision import datasets  # noqa: PLC0415

    if name == "svhn":
        svhn = datasets.SVHN(folder, split="train" if train else "test", download=True)
        images = svhn.data.transpose(0, 2, 3, 1)
        return Labelled(images=images, labels=svhn.labels), tuple("0123456789")
    if name == "fashion_mnist":
        _forget_unpacked(Path(folder, "FashionMNIST", "raw"), datasets.FashionMNIST.resources)
    kinds = {
        "cifar10": datasets.CIFAR10,
        "cifar100": datasets.CIFAR100,
        "fashion_mnist": datasets.FashionMNIST,
    }
    found = kinds[name](folder, train=train, download=True)
    images = np.asarray(found.data)
    if images.ndim == 3:
        images = images[..., np.newaxis]
    labels = np.asarray(found.targets, dtype=np.int64)
    return Labelled(images=images, labels=labels), tuple(found.classes)


def _forget_unpacked(raw: Path, resources: Iterable[tuple[str, str]]) -> None:
    """Make torchvision unpack the archives again: it checks archives, but not unpacked files.

    Raises:
        ValueError: an unpacked file has no intact archive beside it, or comes from an old version.
    """
    from torchvision.datasets.utils import check_integrity  # noqa: PLC0415

    if (raw.parent / "processed").exists():
        raise ValueError(
            f"{raw.parent / 'processed'}: unchecked files of an old version; remove it"
        )
    for name, checksum in resources:
        unpacked = raw / name.removesuffix(".gz")
        if unpacked.exists():
            if not check_integrity(str(raw / name), checksum):
                raise ValueError(f"{raw / name}: missing or damaged")
            unpacked.unlink()
