"""Decoded images of a data set on disk, so that memory need not hold them.

They are outside the outputs, which DVC deletes, so that a run that was killed goes on where it was.
They are in the tree that runs, in which one `prepare` at a time has them. N images, H x W pixels,
C channels.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b, sha256
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.console.progress import say, track
from pipeline.console.stage import code_in_use
from pipeline.harness.errors import DataError
from pipeline.harness.lacks import lack
from pipeline.harness.places import SCRATCH
from pipeline.locking.lock import hold

AT_ONCE = 4096
"""Images that wait for a thread; each takes a kilobyte or two meanwhile."""

MARK_BYTES = 16
"""Bytes of the digest that marks an image as done; a mark that is not there is zero."""

Decode = Callable[[int], NDArray[np.uint8]]
"""Function from the number of an image to its pixels, (H, W, C)."""


@dataclass(frozen=True, slots=True)
class Scratch:
    """Folder of the images that have been decoded for one result of `prepare`."""

    folder: Path

    def of(self, *facts: object) -> "Scratch":
        """Return a folder in this one for images that depend on these facts too; remove others."""
        return _only(self.folder / "pixels", _key(*facts))

    @property
    def unpacked(self) -> Path:
        """Folder for what an archive holds."""
        return self.folder / "unpacked"

    def fill(
        self, name: str, shape: Sequence[int], decode: Decode
    ) -> tuple[NDArray[np.uint8], dict[int, str]]:
        """Decode all images on all cores; return them as a mapped array, and what went wrong.

        name: of the file. shape: (N, H, W, C). What is returned for an image that cannot be decoded
        is the error by its number; its pixels mean nothing. The same images are decoded once.

        Raises:
            OSError: the disk is full.
        """
        count, size = shape[0], int(np.prod(shape[1:]))
        self.folder.mkdir(parents=True, exist_ok=True)
        path, marks = self.folder / name, self.folder / f"{name}.done"
        for file in (path, marks):
            file.touch()
        try:
            with path.open("r+b", buffering=0) as pixels, marks.open("r+b", buffering=0) as done:
                pixels.truncate(count * size)
                done.truncate(count * MARK_BYTES)
                place = partial(_place, pixels.fileno(), done.fileno(), size, decode)
                with ThreadPoolExecutor(os.cpu_count()) as pool:
                    parts = (range(count)[at : at + AT_ONCE] for at in range(0, count, AT_ONCE))
                    errors = chain.from_iterable(pool.map(place, part) for part in parts)
                    shown = track(errors, name=f"prepare: {name} images", count=count)
                    problems = {number: error for number, error in enumerate(shown) if error}
                return np.memmap(pixels, np.uint8, mode="r", shape=tuple(shape)), problems
        except OSError as error:
            error.filename = error.filename or str(path)
            raise


@contextmanager
def scratch(*facts: object) -> Iterator[Scratch]:
    """Give a folder for images that depend on these facts and on the code; remove others.

    It is removed at the end, also if the images are at fault; else what is decoded stays for the
    next run. Waits while another process of this tree has one.
    """

    def waiting(_: str) -> None:
        say("prepare: waits for another one in this tree")

    with hold(SCRATCH.with_suffix(".lock"), "", waiting=waiting):
        place = _only(SCRATCH, _key(*facts, sorted(code_in_use().items())))
        try:
            yield place
        except DataError as error:
            if not lack(error):  # the images will be others when it is run again
                shutil.rmtree(place.folder, ignore_errors=True)
            raise
        shutil.rmtree(place.folder, ignore_errors=True)


def _only(folder: Path, key: str) -> Scratch:
    for other in folder.glob("*"):
        if other.name != key:
            shutil.rmtree(other, ignore_errors=True)
    return Scratch(folder / key)


def _key(*facts: object) -> str:
    return sha256(repr(facts).encode()).hexdigest()[:16]


def _place(pixels: int, marks: int, size: int, decode: Decode, number: int) -> str | None:
    """Decode an image unless it is there; return the error.

    pixels, marks: open files. size: bytes of an image.
    """
    mark = os.pread(marks, MARK_BYTES, number * MARK_BYTES)
    if any(mark) and mark == _mark(os.pread(pixels, size, number * size)):
        return None
    try:
        image = decode(number).tobytes()
    except DataError as error:
        if lack(error):
            raise
        return str(error)
    _write(pixels, image, number * size)
    _write(marks, _mark(image), number * MARK_BYTES)
    return None


def _write(file: int, content: bytes, at: int) -> None:
    """Write all of the content; a full disk takes a part before it is an error."""
    while content:
        written = os.pwrite(file, content, at)
        content, at = content[written:], at + written


def _mark(image: bytes) -> bytes:
    return blake2b(image, digest_size=MARK_BYTES).digest()
