"""Checks that the exported model computes what the trained one does, and resizes as training did.

Logits are compared, not predicted classes: a wrong mean, a standard deviation that is 1 % off and a
wrong epsilon of BatchNorm all leave every predicted class as it was.

N images, H x W pixels, C channels, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor, nn

from pipeline.batches.batches import normalise
from pipeline.batches.randomness import generator
from pipeline.exporting.onnx_file import INPUT, LOGITS, ModelFacts
from pipeline.exporting.resizing import RESIZED, take_apart
from pipeline.harness.errors import ParityError
from pipeline.prepared.facts import RESAMPLING

BATCH_SIZES = (1, 7, 256)
"""Sizes of batches: one, an odd number and a large one, to find a batch size that is built in."""

SINGLY = 256
"""Number of images that are run one by one; more would take long and show nothing new."""

RESIZING_LEVELS = 2
"""Largest accepted difference from Pillow's resizing, in levels of 0 to 255.

Halves may be rounded differently, once in each direction.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How much ONNX Runtime differs from torch.

    images: number of images compared. max_difference: largest absolute difference of a logit.
    agreement: fraction of images with the same predicted class, for the worst batch size.
    """

    images: int
    max_difference: float
    agreement: float


def measure_parity(
    model: bytes,
    network: nn.Module,
    pixels: Tensor,
    mean: Sequence[float],
    std: Sequence[float],
) -> Parity:
    """Compare both on real images: all of them in each of `BATCH_SIZES`, but only 256 one by one.

    Args:
        model: an ONNX file.
        network: in evaluation mode, on the device of `pixels`; normalised images -> (N, K) logits.
        pixels: (N, H, W, C) uint8.
        mean: mean of each channel in training, as a fraction of 255.
        std: standard deviation, likewise.

    Raises:
        ParityError: there are no images.
    """
    if not len(pixels):
        raise ParityError("export: no test image to compare on; raise data.test_fraction")
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    expected = _torch_logits(network, pixels, torch.tensor(mean), torch.tensor(std))
    rows = pixels.cpu().numpy()
    differences, agreements = [], []
    for size in BATCH_SIZES:
        count = min(len(rows), SINGLY) if size == 1 else len(rows)
        logits = _onnx_logits(session, rows[:count], size)
        differences.append(np.abs(logits - expected[:count]).max())
        agreements.append((logits.argmax(1) == expected[:count].argmax(1)).mean())
    # numpy's maximum keeps NaN, which Python's may drop.
    return Parity(
        images=len(rows),
        max_difference=float(np.max(differences)),
        agreement=float(np.min(agreements)),
    )


def require_parity(parity: Parity, max_difference: float) -> None:
    """Raise ParityError unless the logits differ by at most `max_difference`.

    Raises:
        ParityError: they differ by more, or are not numbers.
    """
    if not parity.max_difference <= max_difference:
        raise ParityError(
            f"export: a logit of the ONNX model differs from torch's by"
            f" {parity.max_difference:.2e}, expected at most {max_difference:.2e}"
            f" (same class on {parity.agreement:.2%} of {parity.images} images);"
            f" no file was written; if this is rounding, raise export.max_difference"
        )


def measure_resizing(model: bytes, facts: ModelFacts) -> int | None:
    """Compare a model's resizing with Pillow's on noise: reduced, cut between pixels, enlarged.

    No shape is taller than wide, because Pillow's order of rows and columns then depends on its
    version.

    Returns:
        The largest difference of a resized pixel, in levels of 0 to 255; None for a model that
        takes one size.

    Raises:
        ParityError: it is above `RESIZING_LEVELS`.
    """
    if not facts.any_size:
        return None
    resizing, _ = take_apart(onnx.load_from_string(model))
    session = onnxruntime.InferenceSession(
        resizing.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    height, width = facts.height, facts.width
    levels = max(
        _resizing_difference(session, rows, columns, facts)
        for rows, columns in (
            (2 * height + 1, 3 * width),
            (height, 2 * width + 1),
            (height // 2 + 1, width),
        )
    )
    if levels > RESIZING_LEVELS:
        raise ParityError(
            f"export: a pixel that the ONNX model resized differs from Pillow's by {levels} of 255"
            f" levels, expected at most {RESIZING_LEVELS}; no file was written;"
            f" turn export.any_size off"
        )
    return levels


def _resizing_difference(
    session: onnxruntime.InferenceSession, rows: int, columns: int, facts: ModelFacts
) -> int:
    shape = (rows, columns, facts.channels)
    source = generator(0, "resizing", rows, columns)
    pixels = torch.randint(256, shape, generator=source, dtype=torch.uint8).numpy()
    [[found]] = session.run([RESIZED], {INPUT: pixels[None]})
    picture = Image.fromarray(pixels.squeeze(2) if facts.channels == 1 else pixels)
    into_square = {"crop": ImageOps.fit, "pad": ImageOps.pad}[facts.fit]
    fitted = np.asarray(
        into_square(picture, (facts.width, facts.height), Image.Resampling[RESAMPLING])
    )
    return int(np.abs(found.astype(int) - fitted.reshape(found.shape)).max())


@torch.no_grad()
def _torch_logits(
    network: nn.Module, pixels: Tensor, mean: Tensor, std: Tensor
) -> NDArray[np.float32]:
    """Return (N, K) logits; pixels: (N, H, W, C) uint8, mean and std: (C,)."""
    mean, std = mean.to(pixels.device), std.to(pixels.device)
    batches = torch.split(pixels.permute(0, 3, 1, 2), max(BATCH_SIZES))
    logits = torch.cat([network(normalise(batch, mean, std)) for batch in batches])
    result: NDArray[np.float32] = logits.cpu().numpy()
    return result


def _onnx_logits(
    session: onnxruntime.InferenceSession, rows: NDArray[np.uint8], batch_size: int
) -> NDArray[np.float32]:
    """Return (N, K) logits; rows: (N, H, W, C), of which only a batch at a time is copied."""
    logits = []
    for first in range(0, len(rows), batch_size):
        batch = np.ascontiguousarray(rows[first : first + batch_size])
        logits.append(session.run([LOGITS], {INPUT: batch})[0])
    return np.concatenate(logits)
