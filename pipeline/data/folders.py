"""A folder of the user's own images, one folder per class.

Either `<class>/<image>`, from which a test split is taken later, or `train/<class>/<image>` with or
without `test/<class>/<image>`. Everything is sorted by name, the same order on every machine.
"""

import unicodedata
import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.data.decoding import read_image, shown
from pipeline.data.source import Source
from pipeline.harness.errors import DataError
from pipeline.prepared.labelled import Labelled

DOWNLOADS = "downloads"
"""Folder in `data/` that holds the downloads of torchvision and is no class."""

HIDDEN = {"Thumbs.db", "desktop.ini"}
"""Files that Windows leaves in folders of pictures; elsewhere such names begin with a dot."""


def read_image_folder(folder: Path, image_size: int) -> Source:
    """Read every image under `folder` as (image_size, image_size, 3).

    Raises:
        DataError: a folder or an image is missing, misplaced or unreadable; names the path.
    """
    train, test = _layout(folder)
    classes = _classes(train)
    if test is not None:
        _require_same_classes(train, test, classes)
    # All names are checked before the first image is decoded, so that mistakes show at once.
    train_images = [_images(train / name) for name in classes]
    test_images = None if test is None else [_images(test / name) for name in classes]
    return Source(
        name="image_folder",
        classes=classes,
        train=_decode(train_images, image_size),
        test=None if test_images is None else _decode(test_images, image_size),
    )


def _layout(folder: Path) -> tuple[Path, Path | None]:
    """Return the folder of the training classes, and that of the test classes if there is one."""
    train, test = folder / "train", folder / "test"
    folders = _folders(folder)
    if train not in folders or not (set(folders) <= {train, test} or _folders(train)):
        return folder, None  # a class may happen to be called 'train'
    for other in folders:
        if other not in {train, test}:
            raise DataError(
                f"{shown(other)}: only train/ and test/ are read;"
                " validation images are taken from train/"
            )
    return train, test if test in folders else None


def _classes(folder: Path) -> tuple[str, ...]:
    classes = tuple(path.name for path in _folders(folder))
    if not classes:
        raise DataError(f"{folder}: no class folders; expected {folder}/<class>/<image>")
    if len(classes) == 1:
        raise DataError(
            f"{folder}: only one class, '{classes[0]}'; a classifier needs at least two"
        )
    for name in classes:
        # Names go into JSON, tables and error lines: no control characters, no broken UTF-8.
        if any(unicodedata.category(character) in {"Cc", "Cs"} for character in name):
            raise DataError(f"{folder}: the folder {name!a} has a name that is not plain text")
    return classes


def _require_same_classes(train: Path, test: Path, classes: tuple[str, ...]) -> None:
    """Raise DataError unless every class has both a training folder and a test folder."""
    tested = {path.name for path in _folders(test)}
    for name in sorted(tested - set(classes)):
        raise DataError(f"{shown(test / name)}: no such class in {train}")
    for name in classes:
        if name not in tested:
            raise DataError(f"{test}: no folder for class '{name}' of {train}")


def _decode(paths_by_class: list[list[Path]], size: int) -> Labelled:
    paths = list(chain.from_iterable(paths_by_class))
    labels = np.repeat(np.arange(len(paths_by_class)), [len(found) for found in paths_by_class])
    images = np.empty((len(paths), size, size, 3), np.uint8)

    def read_into_place(index: int) -> None:
        images[index] = read_image(paths[index], size)

    with ThreadPoolExecutor() as pool, warnings.catch_warnings():
        # A picture above 90 million pixels is refused; damaged EXIF leaves the pixels intact.
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for _ in pool.map(read_into_place, range(len(paths))):
            pass
    return Labelled(images=images, labels=labels)


def _images(folder: Path) -> list[Path]:
    paths = _entries(folder)
    for path in paths:
        if not path.is_file():
            raise DataError(
                f"{shown(path)}: not a file; images lie directly in the folder of their class"
            )
    if not paths:
        raise DataError(f"{folder}: no images in this class; add some or remove the folder")
    return paths


def _folders(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.is_dir() and path.name != DOWNLOADS]


def _entries(folder: Path) -> list[Path]:
    """Return the entries of a folder, sorted by name, without the system's hidden files."""
    try:
        paths = sorted(folder.iterdir(), key=lambda path: path.name)
    except FileNotFoundError:
        raise DataError(f"{folder}: no such folder; expected {folder}/<class>/<image>") from None
    except NotADirectoryError:
        raise DataError(f"{folder}: not a folder; expected {folder}/<class>/<image>") from None
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror}") from None
    return [path for path in paths if not (path.name.startswith(".") or path.name in HIDDEN)]
