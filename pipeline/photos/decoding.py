"""One image file of any kind, as RGB pixels: a square for the network, or the whole for people."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from threading import Condition

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError, features

from pipeline.harness.errors import DataError
from pipeline.harness.lacks import is_lack_of_memory, lack
from pipeline.harness.showing import shown
from pipeline.prepared.facts import RESAMPLING, Fit

FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""Formats of photographs. Pillow reads more, but an EPS file is a program for Ghostscript."""

BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1"), "HEIF"),
}
"""Formats that not every machine reads, by the brand in bytes 8 to 11 (ISO/IEC 14496-12)."""

REMEDIES = {
    "AVIF": "an AVIF image; to read it, install a Pillow with AVIF",
    "HEIF": "a HEIC image; to read it, install pillow-heif",
}
"""What makes those formats readable."""

FEW_BITS = "16-bit pixels that use 12 bits or fewer; scale them to 0..65535, or to 8 bits"
"""Why an image of 16 bits is refused that would be black: nothing says what its white is."""

UNREADABLE = (
    OSError,
    RuntimeError,  # of the decoders of AVIF and HEIC
    SyntaxError,  # how Pillow reports a broken chunk of PNG
    ValueError,
    EOFError,
    TypeError,  # a fraction of TIFF as a length
    ArithmeticError,
    LookupError,
    MemoryError,  # also of sizes within JPEG 2000, which are not limited as whole pictures are
    struct.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
"""Errors that Pillow raises on a damaged, foreign or hostile file."""


@dataclass(slots=True)
class Limit:
    """A number of pixels that threads share, so that many large pictures are not decoded at once.

    most: that number. taken: those in use.
    """

    most: int
    taken: int = 0
    changed: Condition = field(default_factory=Condition)

    @contextmanager
    def room(self, pixels: int) -> Iterator[None]:
        """Wait until so many pixels are free, and take them; a larger picture waits for all."""
        pixels = min(pixels, self.most)
        with self.changed:
            self.changed.wait_for(lambda: self.taken + pixels <= self.most)
            self.taken += pixels
        try:
            yield
        finally:
            with self.changed:
                self.taken -= pixels
                self.changed.notify_all()


DECODED = Limit(100_000_000)
"""Pixels decoded at once, which take about a gigabyte and a half."""

BLOCK_BYTES = 64 << 20
"""Bytes of a block of Pillow's: from 32 MiB on, the system has them back when they are freed.

Smaller ones stay with the thread that freed them: six threads, one large picture at a time, held
2.8 GB in place of 1.6.
"""

PIXEL_BYTES = 16
"""Bytes that decoding a pixel takes at most: 15.4 were measured, of a transparent PNG."""


Image.core.set_block_size(BLOCK_BYTES)  # type: ignore[attr-defined]  # in its manual all the same


def read_image(path: Path, size: int, fit: Fit = "crop") -> NDArray[np.uint8]:
    """Decode one file: (size, size, 3), upright, on white where transparent.

    fit: whether it is cropped at the centre, or padded with black.

    Raises:
        DataError: not an image of `formats`, damaged, too large, or of pixels of unknown range.
    """
    into_square = {"crop": ImageOps.fit, "pad": ImageOps.pad}[fit]
    with _upright(path, size) as image:
        return np.asarray(into_square(image, (size, size), Image.Resampling[RESAMPLING]))


def read_whole(path: Path, longest: int) -> NDArray[np.uint8]:
    """Decode one file as `read_image` does, but all of it: (H, W, 3), no side above `longest`."""
    with _upright(path, longest) as image:
        image.thumbnail((longest, longest), Image.Resampling[RESAMPLING])
        return np.asarray(image)


@contextmanager
def _upright(path: Path, size: int) -> Iterator[Image.Image]:
    """Open a file as an upright RGB image, at least twice `size` on each side if the file is."""
    try:
        with Image.open(path, formats=formats()) as file:
            # JPEG decodes faster at 1/2, 1/4 or 1/8; resampling needs twice the size.
            file.draft(None, (2 * size, 2 * size))
            is_16_bit = any(";16" in str(tile.args) for tile in file.tile)
            with DECODED.room(file.width * file.height):
                ImageOps.exif_transpose(file, in_place=True)
                if is_16_bit:
                    _require_upper_bits(file)
                yield _rgb(file)
    except UnidentifiedImageError:
        raise _unreadable(path, _explained(path)) from None
    except UNREADABLE as error:
        if is_lack_of_memory(error) and not _is_room():
            raise MemoryError(f"{shown(path)}, when it was decoded") from None
        reason = " ".join(str(error).split()) or type(error).__name__
        if is_lack_of_memory(error):  # sizes within the file: the cause is the file, not the memory
            raise _unreadable(path, reason) from ValueError(reason)
        raise _unreadable(path, reason) from None


@cache
def formats() -> tuple[str, ...]:
    """Return the formats that can be read here: `FORMATS`, AVIF if Pillow can, HEIF if installed.

    HEIF comes from the package pillow-heif, which is no dependency of the project.
    """
    avif = ("AVIF",) if features.check("avif") else ()
    try:
        import_module("pillow_heif").register_heif_opener()
    except ImportError as error:
        if lack(error):
            raise
        return (*FORMATS, *avif)
    return (*FORMATS, *avif, "HEIF")


def _is_room() -> bool:
    """Whether there is memory for as many pixels as are ever decoded at once."""
    with DECODED.room(DECODED.most):  # when all other threads are done
        try:
            np.empty(PIXEL_BYTES * DECODED.most, np.uint8)
        except MemoryError:
            return False
    return True


def _unreadable(path: Path, reason: str) -> DataError:
    return DataError(f"{shown(path)}: not a readable image ({reason})")


def _explained(path: Path) -> str:
    """Return why Pillow does not know the format of a file."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        return str(error.strerror)
    if not head:
        return "the file is empty"
    brand = BRANDS.get(head[8:]) if head[4:8] == b"ftyp" else None
    if brand and brand not in formats():
        return REMEDIES[brand]
    return f"its format is none of {', '.join(formats())}"


def _require_upper_bits(image: Image.Image) -> None:
    """Raise ValueError if colours of 16 bits use 12 or fewer; Pillow keeps the upper 8."""
    if image.mode in {"RGB", "RGBA"} and 0 < np.asarray(image.convert("RGB")).max() < 1 << 4:
        raise ValueError(FEW_BITS)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return _from_16_bits(image)
    if image.mode == "F":
        raise ValueError("floating-point pixels, whose range is not known")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_16_bits(image: Image.Image) -> Image.Image:
    """Scale grey of 0..65535 to 0..255; Pillow's own conversion clips values above 255."""
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("32-bit pixels outside 0..65535, whose range is not known")
    transparent = values == image.info.get("transparency", -1)
    if 0 < values.max(where=~transparent, initial=0) < 1 << 12:
        raise ValueError(FEW_BITS)
    grey = np.where(transparent, 255, np.rint(values / 257)).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")
