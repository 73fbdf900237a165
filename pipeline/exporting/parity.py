"""Does the exported model compute what the trained one does?

Logits are compared, not predicted classes: a wrong mean, a standard deviation that is 1 % off and a
wrong epsilon of BatchNorm all leave every predicted class as it was.

N images, H x W pixels, C channels, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.data.batches import normalise
from pipeline.errors import ParityError
from pipeline.exporting.onnx_file import INPUT, LOGITS

BATCH_SIZES = (1, 7, 256)
"""One image, a batch that divides nothing, a large one: a batch size must not be built in."""

SINGLY = 256
"""Images that are tried one by one; more would take long and show nothing new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How far ONNX Runtime is from torch.

    images: how many were compared. max_difference: the largest absolute one of any logit.
    agreement: fraction of images with the same predicted class, in the worst batch size.
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
    """Run both on real images: all of them in each of `BATCH_SIZES`, but only 256 one by one.

    Args:
        model: an ONNX file.
        network: in evaluation mode, on the device of `pixels`; normalised images -> (N, K) logits.
        pixels: (N, H, W, C) uint8.
        mean: of each channel, as a fraction of 255, as the network was trained with.
        std: likewise.

    Raises:
        ParityError: there is no image to compare on.
    """
    if not len(pixels):
        raise ParityError("export: no test image to compare on; raise data.test_fraction")
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    expected = _torch_logits(network, pixels, torch.tensor(mean), torch.tensor(std))
    rows = pixels.cpu().contiguous().numpy()
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
    """Let a model pass whose logits differ by at most `max_difference`.

    Raises:
        ParityError: they differ by more, or are not numbers.
    """
    if not parity.max_difference <= max_difference:
        raise ParityError(
            f"export: a logit of the ONNX model differs from torch's by"
            f" {parity.max_difference:.2e}, expected at most {max_difference:.2e}"
            f" (same class on {parity.agreement:.2%} of {parity.images} images);"
            f" no file was written; if so much is rounding, raise export.max_difference"
        )


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
    batches = (rows[first : first + batch_size] for first in range(0, len(rows), batch_size))
    return np.concatenate([session.run([LOGITS], {INPUT: batch})[0] for batch in batches])
