"""Smaller versions of the exported model: weights of 8 or 16 bits, for the same pixels and classes.

Their outputs differ slightly, so they are judged by their accuracy on the test images.

N images, H x W pixels, C channels, K classes.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.quant_utils import add_pre_process_metadata
from onnxruntime.transformers.float16 import convert_float_to_float16

from pipeline.batches.images import Images, read_images
from pipeline.exporting.onnx_file import INPUT, LOGITS, ModelFacts, seal
from pipeline.exporting.params import ExportParams
from pipeline.exporting.resizing import join, take_apart
from pipeline.harness.errors import ParityError

CALIBRATION_IMAGES = 256
BATCH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A smaller model, judged on the test split.

    accuracy: fraction of images classified correctly. agreement: fraction of images with the same
    class as the exported model's.
    """

    name: str
    content: bytes
    accuracy: float
    agreement: float

    def metrics(self) -> dict[str, float]:
        """Return the metrics that DVC compares."""
        return {
            f"{self.name}_bytes": len(self.content),
            f"{self.name}_accuracy": self.accuracy,
            f"{self.name}_agreement": self.agreement,
        }


def make_variants(
    params: ExportParams, model: bytes, facts: ModelFacts, *, prepare: Path, test: Images
) -> list[Variant]:
    """Return the smaller models that `params` ask for.

    Args:
        params: which models to make, and how much accuracy each may lose.
        model: the exported model.
        facts: facts of the exported model.
        prepare: folder of the data set, whose training images calibrate int8.
        test: the test split, on the CPU.

    Raises:
        ParityError: a model loses more accuracy than allowed.
    """
    made = {}
    if params.int8:
        made["int8"] = to_int8(model, facts, _rows(read_images(prepare, "train", "cpu")))
    if params.half:
        made["half"] = to_half(model, facts)
    pixels, labels = _rows(test), test.labels.numpy()
    return [
        judge(name, content, model, pixels, labels, tolerance=params.accuracy_tolerance)
        for name, content in made.items()
    ]


def to_int8(model: bytes, facts: ModelFacts, images: NDArray[np.uint8]) -> bytes:
    """Return the model with int8 weights, per channel, and uint8 activations (QDQ).

    Only convolutions and the head are quantized. With pooling, sums and concatenations too, logits
    of the digits moved by 0.31 instead of 0.26, in the same milliseconds. MatMul is left out,
    because it only resizes images.

    images: (N, H, W, C) of the training split; 256 of them give the ranges of the activations.
    """
    copied = onnx.load_from_string(model)
    add_pre_process_metadata(copied)  # shapes are inferred and BatchNorm is folded already
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        quantize_static(
            copied,
            path,
            _Calibration(images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Gemm"],
            per_channel=True,
            activation_type=QuantType.QUInt8,  # int8 activations are slower than float32 on a CPU
            weight_type=QuantType.QInt8,
        )
        return seal(onnx.load_from_string(path.read_bytes()), facts)


def to_half(model: bytes, facts: ModelFacts) -> bytes:
    """Return the model in float16, except for its outputs; meant for GPUs, slow on CPUs.

    Resizing stays in float32: above 2048, float16 cannot tell whole numbers that differ by 1.
    """
    whole = onnx.load_from_string(model)
    if not facts.any_size:
        return seal(convert_float_to_float16(whole, keep_io_types=True), facts)
    resizing, rest = take_apart(whole)
    return seal(join(resizing, convert_float_to_float16(rest, keep_io_types=True)), facts)


def judge(
    name: str,
    content: bytes,
    model: bytes,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    tolerance: float,
) -> Variant:
    """Measure a smaller model; raise ParityError unless its accuracy is within `tolerance`.

    Args:
        name: name in messages and in the file's name.
        content: ONNX file of the smaller model.
        model: ONNX file of the model it was made from.
        pixels: (N, H, W, C) of the test split.
        labels: (N,).
        tolerance: largest accepted loss of accuracy, as a fraction of 1.

    Raises:
        ParityError: it loses more accuracy.
    """
    expected, found = _classes(model, pixels), _classes(content, pixels)
    before, accuracy = float((expected == labels).mean()), float((found == labels).mean())
    if before - accuracy > tolerance:
        raise ParityError(
            f"export: the {name} model is right on {accuracy:.2%} of the test images, the"
            f" exported one on {before:.2%}, expected to lose at most {tolerance:.2%};"
            f" no file was written; turn export.{name} off or raise export.accuracy_tolerance"
        )
    return Variant(
        name=name,
        content=content,
        accuracy=accuracy,
        agreement=float((expected == found).mean()),
    )


class _Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Batches of images from the whole split, which may be sorted by class."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        count = min(len(images), CALIBRATION_IMAGES)
        chosen = images[np.linspace(0, len(images) - 1, count).astype(int)]
        self._batches = _batches(chosen)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


def _rows(images: Images) -> NDArray[np.uint8]:
    """Return the pixels as (N, H, W, C), without a copy."""
    rows: NDArray[np.uint8] = images.pixels.permute(0, 2, 3, 1).numpy()
    return rows


def _batches(images: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    firsts = range(0, len(images), BATCH)
    return (np.ascontiguousarray(images[first : first + BATCH]) for first in firsts)


def _classes(model: bytes, pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    logits = [session.run([LOGITS], {INPUT: batch})[0] for batch in _batches(pixels)]
    classes: NDArray[np.int64] = np.concatenate(logits).argmax(1)
    return classes
