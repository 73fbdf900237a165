"""Pictures of the test: the confusion matrix, and the mistakes with the highest probability.

K classes.
"""

from collections import Counter

import numpy as np
from matplotlib.figure import Figure

from pipeline.reporting.findings import Findings, Prediction
from pipeline.reporting.style import BLUE, INK, MUTED, RED, label

NUMBERED = 30
"""Largest number of classes for which cells of the matrix have room for numbers."""
MOST_SHOWN = 24
"""Largest number of mistakes that are drawn."""
MOST_LISTED = 10
"""Largest number of confusions that are listed where the matrix has no numbers."""
IN_A_ROW = 6

# In inches. curves.py says why matplotlib's layouts are not used.
WIDEST = 9.2
PHOTO, PITCH = 1.3, (1.64, 1.95)
POINTS = 72
LETTER = 0.66
"""Approximate largest width of a letter, as a fraction of its size."""


def draw_confusion(findings: Findings) -> Figure:
    """Draw the confusion matrix: correct in blue, mistakes in red, as fractions of each class."""
    classes = findings.dataset.classes
    matrix = findings.confusion()
    count = len(classes)
    fractions = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    colors = np.zeros((count, count, 4))
    colors[..., :3] = _rgb(RED)
    colors[np.diag_indices(count)] = (*_rgb(BLUE), 0)
    # The root and the offset make even a single mistake among many visible.
    colors[..., 3] = np.where(matrix, 0.2 + 0.55 * np.sqrt(fractions), 0)

    names = [label(name, 20) for name in classes]
    longest = max(map(len, names))
    upright = longest > 3 or count > NUMBERED
    side = min(WIDEST, max(2.0, 0.52 * count))
    size = min(9.0, 50 * side / count)  # points: a little less than the cell's side
    margin = 0.5 + longest * size * LETTER / POINTS
    width, height = margin + side + 0.2, side + (margin if upright else 0.6) + 0.1
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((margin / width, 1 - (side + 0.1) / height, side / width, side / height))
    axes.imshow(colors)
    axes.set_xticks(range(count), names, rotation=90 if upright else 0, size=size)
    axes.set_yticks(range(count), names, size=size)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(count + 1) - 0.5, minor=True)
    axes.grid(visible=True, which="minor", axis="both", linewidth=0.6 if count < NUMBERED else 0.2)
    axes.tick_params(which="minor", length=0)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("actual class")
    if count <= NUMBERED:
        for (actual, predicted), number in np.ndenumerate(matrix):
            if number:
                axes.text(
                    predicted, actual, str(number), size=size, ha="center", va="center_baseline"
                )
    return figure


def draw_mistakes(findings: Findings) -> Figure:
    """Draw the test images that were misclassified with the highest probability."""
    found = mistakes(findings)
    rows = max(1, -(-min(len(found), MOST_SHOWN) // IN_A_ROW))
    width, height = IN_A_ROW * PITCH[0], rows * PITCH[1]
    figure = Figure(figsize=(width, height))
    if not found:
        figure.text(0.5, 0.5, "no mistakes", size=14, color=MUTED, ha="center", va="center")
        return figure
    for place, (number, prediction) in enumerate(found[:MOST_SHOWN]):
        row, column = divmod(place, IN_A_ROW)
        left = column * PITCH[0] + (PITCH[0] - PHOTO) / 2
        top = row * PITCH[1] + (PITCH[1] - PHOTO) / 2
        axes = figure.add_axes(
            (left / width, 1 - (top + PHOTO) / height, PHOTO / width, PHOTO / height)
        )
        axes.set_axis_off()
        axes.imshow(findings.pixels[number].squeeze(), cmap="gray", vmin=0, vmax=255)
        actual, predicted = (
            label(findings.dataset.classes[index], 14)
            for index in (prediction.actual, prediction.predicted)
        )
        axes.set_title(f"is {actual}", size=9, color=INK, loc="center")
        text = f"→ {predicted}, {prediction.probability:.0%}"
        axes.text(
            0.5, -0.05, text, transform=axes.transAxes, size=9, color=RED, ha="center", va="top"
        )
    return figure


def mistakes(findings: Findings) -> list[tuple[int, Prediction]]:
    """Return number and prediction of each misclassified test image, by falling probability."""
    wrong = [
        (number, prediction)
        for number, prediction in enumerate(findings.predictions)
        if prediction.actual != prediction.predicted
    ]
    return sorted(wrong, key=lambda pair: -pair[1].probability)


def confusions(findings: Findings) -> list[tuple[str, str, int]]:
    """Return the most frequent pairs of actual and predicted class, with their number of images.

    Nothing if the matrix has numbers. Pairs with the same number are in the order of the classes.
    """
    if len(findings.dataset.classes) <= NUMBERED:
        return []
    counts = Counter((one.actual, one.predicted) for _, one in mistakes(findings))
    found = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST_LISTED]
    classes = findings.dataset.classes
    return [(classes[actual], classes[predicted], count) for (actual, predicted), count in found]


def _rgb(color: str) -> tuple[float, float, float]:
    red, green, blue = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue
