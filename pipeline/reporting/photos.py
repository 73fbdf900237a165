"""Images of the data set as people see them: the original photo, wherever that is still there.

H x W pixels, C channels.
"""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.harness.errors import DataError
from pipeline.harness.lacks import lack
from pipeline.photos.decoding import read_image, read_whole
from pipeline.prepared.facts import SPLITS, Fit, Split, read_facts
from pipeline.prepared.labelled import Labelled
from pipeline.prepared.names import read_names
from pipeline.prepared.packing import read_split

LONGEST = 240
"""Longest side of a photo in pixels."""
ALIKE = 2.0
"""Largest mean difference, of 255, of pixels decoded twice; libraries differ by less."""

Place = tuple[Split, int]
"""Split of an image and its index there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """An image as it is shown.

    name: of its file, relative to `data.path`; split and index if it has none. has_file: whether
    it has one. pixels: (H, W, C) uint8. is_original: whether the pixels are the whole file's,
    instead of those that were prepared from it.
    """

    name: str
    has_file: bool
    pixels: NDArray[np.uint8]
    is_original: bool


def read_photos(
    prepare: Path,
    originals: Path,
    places: Iterable[Place],
    known: Mapping[Split, Labelled],
) -> dict[Place, Photo]:
    """Read some images of the prepared data set.

    originals: folder of the files. One that is missing or has changed is not shown, nor is one in
    an archive or a table. known: splits that have been read.

    Raises:
        DataError: the prepared data set is missing or damaged.
    """
    wanted, found, fit = set(places), {}, read_facts(prepare).fit
    for split in SPLITS:
        indices = sorted(index for one, index in wanted if one == split)
        if not indices:
            continue
        prepared = (known.get(split) or read_split(prepare, split)).images
        names = read_names(prepare, split)
        for index in indices:
            pixels = np.array(prepared[index])
            original = None if names is None else _original(originals / names[index], pixels, fit)
            found[split, index] = Photo(
                name=f"{split} {index}" if names is None else names[index],
                has_file=names is not None,
                pixels=pixels if original is None else original,
                is_original=original is not None,
            )
    return found


def _original(path: Path, prepared: NDArray[np.uint8], fit: Fit) -> NDArray[np.uint8] | None:
    """Return a photo as a whole, or None if it is not the one that was prepared."""
    try:
        with warnings.catch_warnings():
            # As in `prepare`: damaged EXIF leaves the pixels intact.
            warnings.simplefilter("ignore", UserWarning)
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            again = read_image(path, len(prepared), fit)
            whole = read_whole(path, LONGEST)
    except DataError as error:
        if lack(error):
            raise
        return None
    difference = np.abs(again.astype(np.int16) - prepared).mean()
    return whole if difference <= ALIKE else None
