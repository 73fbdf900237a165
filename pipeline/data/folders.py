"""The user's own images, one folder per class: found, counted, decoded."""

import warnings
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.console.progress import say
from pipeline.data.counts import count_lines
from pipeline.data.layout import Files, Layout
from pipeline.data.opening import opened
from pipeline.data.params import DataParams
from pipeline.data.scratch import Scratch
from pipeline.data.source import Source
from pipeline.harness.errors import DataError
from pipeline.harness.showing import shown
from pipeline.photos.decoding import read_image
from pipeline.prepared.labelled import Labelled

NAMED = 20
"""Largest number of unreadable images that a message names."""


def read_image_folder(params: DataParams, scratch: Scratch) -> Source:
    """Read every image that `data.path` holds as (H, W, 3), and print what was found.

    scratch: where the decoded images are kept.

    Raises:
        DataError: a folder is missing or of unclear meaning, or images are unreadable, all of
            which the message names; with 'skip', only if a class has no others.
    """
    folder = Path(params.path)
    with opened(folder, scratch.unpacked) as layout:
        counts = [len(paths) for paths in layout.train]
        for line in (*layout.notes, *count_lines(layout.classes, counts)):
            say(line)
        parts = {"training": layout.train, "validation": layout.validation, "test": layout.test}
        place = scratch.of(layout.stamps)
        decoded = {
            name: _decode(params, layout, files, place, name)
            for name, files in parts.items()
            if files
        }
        problems = list(chain.from_iterable(lines for _, lines in decoded.values()))
        if problems and params.unreadable == "refuse":
            raise DataError(_refusal(problems))
        if problems:
            first = layout.told(problems[0])
            say(f"left out {len(problems)} images that cannot be read; the first is {first}")
        for name, (labelled, _) in decoded.items():
            _require_every_class(folder, name, layout.classes, labelled)
        read = {name: labelled for name, (labelled, _) in decoded.items()}
    return Source(
        name="image_folder",
        classes=layout.classes,
        train=read["training"],
        validation=read.get("validation"),
        test=read.get("test"),
    )


def _decode(
    params: DataParams, layout: Layout, files: Files, scratch: Scratch, name: str
) -> tuple[Labelled, list[str]]:
    """Return the images that can be read, and a line for each of the others. name: of the split."""
    paths = list(chain.from_iterable(files))

    def fill(file: str, side: int) -> tuple[NDArray[np.uint8], dict[int, str]]:
        shape = (len(paths), side, side, 3)
        return scratch.fill(file, shape, lambda number: read_image(paths[number], side, params.fit))

    with warnings.catch_warnings():
        # A picture above 90 million pixels is refused; damaged EXIF leaves the pixels intact.
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        images, problems = fill(name, params.image_size)
        larger = None
        if params.stored_size is not None and name != "test":
            larger, more = fill(f"larger {name}", params.stored_size)
            problems = {**more, **problems}
    labels = np.repeat(np.arange(len(files)), [len(found) for found in files])
    names = tuple(layout.name(path) for path in paths)
    every = Labelled(images=images, labels=labels, names=names, larger=larger)
    good = np.delete(np.arange(len(paths)), list(problems))
    return every.take(good), list(problems.values())


def _refusal(problems: Sequence[str]) -> str:
    """Return one line for each of the first problems, and what to do about all of them."""
    remedy = "or set data.unreadable to skip"
    if len(problems) == 1:
        return f"{problems[0]}; repair or remove it, {remedy}"
    first = f"; the first {NAMED} are named above" if len(problems) > NAMED else ""
    last = f"{len(problems)} images cannot be read{first}; repair or remove them, {remedy}"
    return "\n".join((*problems[:NAMED], last))


def _require_every_class(
    folder: Path, split: str, classes: Sequence[str], labelled: Labelled
) -> None:
    counts = np.bincount(labelled.labels, minlength=len(classes))
    for name, count in zip(classes, counts, strict=True):
        if count == 0:
            raise DataError(
                f"{shown(folder)}: no {split} image of class '{shown(name)}' can be read"
            )
