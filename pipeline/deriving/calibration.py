"""Calibration: one temperature that makes probabilities match how often they are right.

Probabilities are softmax(logits / T) (Guo et al. 2017). T > 0 is fitted on held-out images, on
which the network is not as sure as on those it was trained on. It changes no predicted class.

N images, K classes.
"""

from dataclasses import dataclass
from math import exp, floor, log

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from torch import Tensor

LOWEST, HIGHEST = 0.25, 4.0
"""Bounds of T; without them, T falls to 0 where every held-out image is classified correctly."""

DECIMALS = 4
"""Number of decimals of what is fitted; later ones differ between machines."""

TOLERANCE = 1e-7
"""Accepted error of log T."""

BINS = 15
"""Number of intervals of equal width in the expected calibration error, as in Guo et al. 2017."""

UNSURE_PERCENT = 5
"""Percentage of the correctly classified held-out images that may be called unsure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What was fitted on held-out images.

    temperature: divisor of the logits. unsure_below: probability of the predicted class below which
    an image may show none of the classes; None if no held-out image was classified correctly.
    """

    temperature: float
    unsure_below: float | None


def fit(logits: Tensor, labels: Tensor) -> Calibration:
    """Fit both to images that are held out.

    logits: (N, K). labels: (N,).
    """
    temperature = fit_temperature(logits, labels)
    return Calibration(
        temperature=temperature,
        unsure_below=unsure_below(probabilities(logits, temperature), labels),
    )


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Return the T from `LOWEST` to `HIGHEST` under which the labels are the most likely.

    The loss is convex in 1 / T, so it has one minimum. logits: (N, K). labels: (N,).
    """
    exact = logits.double()

    def loss(log_temperature: float) -> float:
        return float(F.cross_entropy(exact / exp(log_temperature), labels))

    found = minimize_scalar(
        loss, bounds=(log(LOWEST), log(HIGHEST)), method="bounded", options={"xatol": TOLERANCE}
    )
    return round(exp(found.x), DECIMALS)


def probabilities(logits: Tensor, temperature: float) -> Tensor:
    """Return (N, K) probabilities as the exported file computes them."""
    return (logits / temperature).softmax(1)


def unsure_below(probabilities: Tensor, labels: Tensor) -> float | None:
    """Return a probability that at most 5 % of the correctly classified images stay below.

    probabilities: (N, K). labels: (N,). None: no image was classified correctly.
    """
    highest, predicted = probabilities.max(1)
    right = highest[predicted == labels].double().numpy()
    if not len(right):
        return None
    # Rounded down, because a limit of 1 would call almost every image unsure.
    scale = 10.0**DECIMALS
    return floor(scale * float(np.percentile(right, UNSURE_PERCENT, method="lower"))) / scale


def calibration_error(probabilities: Tensor, labels: Tensor) -> float:
    """Return the expected calibration error of the predicted classes, 0 to 1 (Guo et al. 2017).

    It is the mean distance of probability and accuracy within `BINS` intervals of the probability,
    weighted by their images. probabilities: (N, K). labels: (N,).
    """
    highest, predicted = probabilities.max(1)
    surplus = highest.double() - (predicted == labels).double()
    # Intervals are closed on the right, so a probability of 1 is in the last one.
    bins = (highest.double() * BINS).ceil().long() - 1
    sums = torch.zeros(BINS, dtype=torch.float64).index_add_(0, bins.clamp(0, BINS - 1), surplus)
    return float(sums.abs().sum()) / len(labels)


def measure_calibration(
    calibration: Calibration | None, logits: Tensor, labels: Tensor
) -> dict[str, float]:
    """Return what was fitted, and the calibration error on the test split, also without it.

    logits: (N, K) of the test split. labels: (N,).
    """
    plain = calibration_error(probabilities(logits, 1.0), labels)
    if calibration is None:
        return {"test_calibration_error": plain}
    calibrated = probabilities(logits, calibration.temperature)
    measured = {
        "test_calibration_error": calibration_error(calibrated, labels),
        "test_calibration_error_before": plain,
        "temperature": calibration.temperature,
    }
    if calibration.unsure_below is not None:
        measured["unsure_below"] = calibration.unsure_below
    return measured
