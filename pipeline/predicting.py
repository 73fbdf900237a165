"""Name what is on images with an exported model.

    aso-se predict model.onnx photo.jpg photos/ 'more/*.png'
    python predicting.py model.onnx photo.jpg

This file works wherever it is copied: it needs only onnxruntime, numpy and pillow, nothing of the
project. So it decodes images itself; a test checks that it does as `pipeline/photos/decoding.py`.
"""

import argparse
import errno
import glob
import json
import struct
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as runtime_errors
from PIL import Image, ImageOps, UnidentifiedImageError, features

METADATA_FORMAT = 1
RESAMPLING = Image.Resampling.BICUBIC
INTO_SQUARE = {"crop": ImageOps.fit, "pad": ImageOps.pad}
"""Functions that make an image a square: cropped at the centre, or padded with black."""
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1"), "HEIF"),
}
FEW_BITS = "16-bit pixels that use 12 bits or fewer; scale them to 0..65535, or to 8 bits"
"""Why an image of 16 bits is refused that would be black: nothing says what its white is."""
REMEDIES = {
    "AVIF": "an AVIF image; to read it, install a Pillow with AVIF",
    "HEIF": "a HEIC image; to read it, install pillow-heif",
}
HIDDEN = {"Thumbs.db", "desktop.ini"}
REFUSED = tuple(
    one
    for one in vars(runtime_errors).values()
    if isinstance(one, type) and issubclass(one, Exception)
)
"""Errors that ONNX Runtime raises on a file that is damaged or not a model."""
SILENT = 4
"""Level from which on ONNX Runtime logs; only what ends the process is above it."""
LARGEST = 4096
"""Largest side in pixels of the images of a model."""
UNREADABLE = (
    OSError,
    RuntimeError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    ArithmeticError,
    LookupError,
    MemoryError,
    struct.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
"""Errors that Pillow raises on a damaged, foreign or hostile file."""


LACKING = {errno.ENOMEM, errno.EMFILE, errno.ENFILE}
"""Numbers of errors that say nothing about a file: the machine lacks memory or open files."""


class ModelError(Exception):
    """The model is missing, damaged, not an exported classifier, or cannot be computed."""


@dataclass(frozen=True, slots=True)
class Model:
    """An exported classifier.

    path: its file. size: side of its images in pixels. channels: 1 (grey) or 3 (RGB). fit: how
    they became squares, a key of `INTO_SQUARE`. unsure_below: probability of the likeliest class
    below which a prediction is unsure; None if the model does not say.
    """

    path: Path
    session: onnxruntime.InferenceSession
    classes: tuple[str, ...]
    size: int
    channels: int
    fit: str
    unsure_below: float | None


@dataclass(frozen=True, slots=True)
class Prediction:
    """The prediction for one image.

    classes: names with their probabilities, the most probable first. unsure: whether the image may
    show none of the classes, None if the model cannot tell. error: reason if there are no classes,
    else ''.
    """

    image: Path
    classes: tuple[tuple[str, float], ...] = ()
    unsure: bool | None = None
    error: str = ""


def main() -> int:
    """Predict the images on the command line; return the exit code."""
    parser = argparse.ArgumentParser(description="Name what is on images.")
    parser.add_argument("model", type=Path, help="An exported model.onnx.")
    parser.add_argument("images", nargs="+", help="Files, folders or patterns such as '*.png'.")
    top = "Classes to show per image. By default %(default)s."
    parser.add_argument("--top", type=int, default=3, metavar="N", help=top)
    json_help = "Print one JSON document, for programs."
    parser.add_argument("--json", action="store_true", help=json_help)
    arguments = parser.parse_args()
    return show(arguments.model, arguments.images, top=arguments.top, as_json=arguments.json)


def show(model_path: Path, names: Sequence[str], *, top: int, as_json: bool) -> int:
    """Print the predictions as a table or a JSON document, and errors on stderr.

    Returns:
        0, or 1 if the model or an image could not be used; the other images are predicted. 2 if
        `top` is below 1. 4 if the machine lacks memory or open files.
    """
    if top < 1:
        sys.stderr.write(f"--top {top}: expected 1 or more\n")
        return 2
    try:
        return _show(model_path, names, top=top, as_json=as_json)
    except OSError as error:
        if error.errno not in LACKING:
            raise
        sys.stderr.write(f"{shown(Path(error.filename or model_path))}: {error.strerror}\n")
        return 4


def _show(model_path: Path, names: Sequence[str], *, top: int, as_json: bool) -> int:
    try:
        model = open_model(model_path)
    except ModelError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    paths = list(find_images(names))
    predictions = []
    write_row = _table(paths, model.classes)
    try:
        for prediction in predict(model, paths, top=top):
            predictions.append(prediction)
            if prediction.error:
                sys.stderr.write(f"{shown(prediction.image)}: {_printable(prediction.error)}\n")
            elif not as_json:
                write_row(prediction)
    except ModelError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if as_json:
        sys.stdout.write(_document(model_path, predictions))
    return int(any(prediction.error for prediction in predictions))


def open_model(path: Path) -> Model:
    """Load a model and its metadata.

    Raises:
        ModelError: the file cannot be read, is not an ONNX file, does not name its classes, or has
            other inputs and outputs than it says.
        OSError: the machine lacks memory or open files.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = SILENT
    try:
        content = path.read_bytes()
        session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
        model = _described(path, session, session.get_modelmeta().custom_metadata_map)
        if _has_its_ends(model):
            return model
        reason = "its graph has other inputs or outputs than its metadata say"
    except OSError as error:
        if error.errno in LACKING:
            raise
        reason = f"cannot be read: {error.strerror}"
    except REFUSED:
        reason = "not an ONNX model"
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        reason = "no classes and image size in its metadata; expected a model of this project"
    raise ModelError(f"{shown(path)}: {reason}")


def find_images(names: Iterable[str]) -> Iterator[Path]:
    """Yield the named files, all files in and below a folder, and the matches of a pattern, sorted.

    Missing files are yielded too, so that reading them reports the error.
    """
    for name in names:
        path = Path(name)
        matches = glob.glob(name, recursive=True)  # noqa: PTH207 - pathlib's take no absolute pattern
        found = [path] if path.exists() else sorted(map(Path, matches))
        for one in found or [path]:
            yield from _files(one) if one.is_dir() else [one]


def predict(model: Model, paths: Iterable[Path], *, top: int) -> Iterator[Prediction]:
    """Yield each prediction as soon as it is known, with the `top` likeliest classes.

    Raises:
        ModelError: the model cannot be computed, or gives no probabilities.
    """
    for path in paths:
        try:
            pixels = _pixels(model, path)
        except ValueError as error:
            yield Prediction(path, error=str(error))
            continue
        probabilities = _probabilities(model, pixels)
        best = np.argsort(-probabilities, kind="stable")[:top]
        classes = tuple((model.classes[i], float(probabilities[i])) for i in best)
        limit = model.unsure_below
        yield Prediction(path, classes, None if limit is None else classes[0][1] < limit)


def read_image(path: Path, size: int, fit: str = "crop") -> NDArray[np.uint8]:
    """Decode one file: (size, size, 3), upright, on white where transparent.

    fit: a key of `INTO_SQUARE`.

    Raises:
        ValueError: not an image of `formats`, damaged, too large, or of pixels of unknown range.
        OSError: the machine lacks memory or open files.
    """
    try:
        with Image.open(path, formats=formats()) as file:
            file.draft(None, (2 * size, 2 * size))
            is_16_bit = any(";16" in str(tile.args) for tile in file.tile)
            upright = ImageOps.exif_transpose(file)
        if is_16_bit:
            _require_upper_bits(upright)
        return np.asarray(INTO_SQUARE[fit](_rgb(upright), (size, size), RESAMPLING))
    except UnidentifiedImageError:
        reason = _explained(path)
    except UNREADABLE as error:
        if isinstance(error, OSError) and error.errno in LACKING:
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
    raise ValueError(f"not a readable image ({reason})")


@cache
def formats() -> tuple[str, ...]:
    """Return the formats that can be read here; AVIF and HEIF need what not everyone has."""
    avif = ("AVIF",) if features.check("avif") else ()
    try:
        import_module("pillow_heif").register_heif_opener()
    except ImportError:
        return (*FORMATS, *avif)
    return (*FORMATS, *avif, "HEIF")


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


def shown(path: Path) -> str:
    """Return a path for a message, with unprintable characters such as line breaks escaped."""
    return _printable(str(path))


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def _described(
    path: Path, session: onnxruntime.InferenceSession, metadata: Mapping[str, str]
) -> Model:
    """Return a model as its metadata describe it; they may be anybody's.

    Raises:
        ModelError: it is of another format, or fits its images in an unknown way.
        ValueError, LookupError, TypeError, AttributeError, RecursionError: they describe none.
    """
    known = {key: json.loads(metadata[key]) for key in ("format", "classes", "input")}
    if known["format"] != METADATA_FORMAT:
        other = _printable(str(known["format"]))
        raise ModelError(f"{shown(path)}: format {other}, this program reads {METADATA_FORMAT}")
    sides, classes = known["input"], known["classes"]
    size, channels, fit = sides["width"], sides["channels"], sides.get("fit", "crop")
    calibration = json.loads(metadata.get("calibration", "null"))
    limit = calibration["unsure_below"] if calibration else None
    unsure_below = None if limit is None else float(limit)
    if type(classes) is not list or set(map(type, classes)) != {str}:
        raise ValueError("no names of classes")
    if type(size) is not int or not 0 < size <= LARGEST or channels not in {1, 3}:
        raise ValueError("no size of images")
    if fit not in INTO_SQUARE:
        raise ModelError(f"{shown(path)}: images are fitted by {fit!r}, unknown here")
    return Model(path, session, tuple(classes), size, channels, fit, unsure_below)


def _has_its_ends(model: Model) -> bool:
    """Whether the graph takes images of the model's size and gives its classes' probabilities."""
    ends = [*model.session.get_inputs(), *model.session.get_outputs()]
    found = {end.name: (end.type, end.shape) for end in ends}
    return (
        len(model.session.get_inputs()) == 1
        and _may_be(found.get("images"), "uint8", (1, model.size, model.size, model.channels))
        and _may_be(found.get("probabilities"), "float", (1, len(model.classes)))
    )


def _may_be(found: tuple[str, list[object]] | None, kind: str, shape: tuple[int, ...]) -> bool:
    """Whether an input or output can have a type and shape. found: its own; names are free."""
    if found is None or found[0] != f"tensor({kind})" or len(found[1]) != len(shape):
        return False
    pairs = zip(found[1], shape, strict=True)
    return all(own == size or not isinstance(own, int) for own, size in pairs)


def _probabilities(model: Model, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the probability of each class; raise ModelError if the model gives none."""
    found: NDArray[np.float32]
    try:
        [found] = model.session.run(["probabilities"], {"images": pixels[None]})
    except REFUSED:
        raise ModelError(f"{shown(model.path)}: cannot be computed on an image") from None
    if found.shape != (1, len(model.classes)) or not np.isfinite(found).all():
        raise ModelError(f"{shown(model.path)}: gives no probabilities for an image")
    probabilities: NDArray[np.float32] = found[0]
    return probabilities


def _table(paths: Sequence[Path], classes: Sequence[str]) -> Callable[[Prediction], None]:
    """Return a function that prints one image's rows; columns are as wide as the longest name."""
    names = [_printable(name) for name in classes]
    first = max(map(len, ["image", *map(shown, paths)]))
    second = max(map(len, ["class", *names]))
    header = [f"{'image':{first}}  {'class':{second}}  probability\n"]

    def write(prediction: Prediction) -> None:
        lines = [header.pop()] if header else []
        image, remark = shown(prediction.image), "  unsure" if prediction.unsure else ""
        for name, probability in prediction.classes:
            row = f"{image:{first}}  {_printable(name):{second}}  {probability:11.1%}{remark}\n"
            lines.append(row)
            image = remark = ""
        sys.stdout.write("".join(lines))

    return write


def _document(model: Path, predictions: Iterable[Prediction]) -> str:
    images = [
        {"image": str(one.image), "error": one.error}
        if one.error
        else {
            "image": str(one.image),
            "classes": [{"name": name, "probability": value} for name, value in one.classes],
            **({} if one.unsure is None else {"unsure": one.unsure}),
        }
        for one in predictions
    ]
    return json.dumps({"model": str(model), "images": images}, indent=2) + "\n"


def _pixels(model: Model, path: Path) -> NDArray[np.uint8]:
    """Return (size, size, channels) pixels; raise ValueError with the reason if there are none."""
    if path.is_dir():
        raise ValueError("no images in this folder")
    if not path.exists():
        raise ValueError("no such file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # damaged EXIF leaves the pixels intact
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        rgb = read_image(path, model.size, model.fit)
    if model.channels == 3:
        return rgb
    return np.asarray(Image.fromarray(rgb).convert("L"))[..., None]


def _files(folder: Path) -> list[Path]:
    """Return the files in and below a folder without hidden ones; the folder if it has none."""
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.name not in HIDDEN
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    return found or [folder]


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
    return image.convert("RGB")


def _from_16_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("32-bit pixels outside 0..65535, whose range is not known")
    transparent = values == image.info.get("transparency", -1)
    if 0 < values.max(where=~transparent, initial=0) < 1 << 12:
        raise ValueError(FEW_BITS)
    grey = np.where(transparent, 255, np.rint(values / 257)).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


if __name__ == "__main__":
    sys.exit(main())
