"""The confusion matrix of the test, and what it says in words.

K classes.
"""

from collections import Counter
from itertools import chain, islice

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.reporting.findings import Findings
from pipeline.reporting.predictions import mistakes
from pipeline.reporting.style import BLUE, RED, label

MOST_ROWS = 30
"""Largest number of rows of the confusion matrix whose names and numbers are readable."""
OTHERS = "all others"
MOST_LISTED = 10
"""Largest number of confusions that are listed where the matrix has not room for all classes."""

# In inches. curves.py says why matplotlib's layouts are not used.
WIDEST = 9.2
POINTS = 72
LETTER = 0.66
"""Approximate largest width of a letter, as a fraction of its size."""


def draw_confusion(findings: Findings) -> Figure:
    """Draw the confusion matrix: correct in blue, mistakes in red, as fractions of each class.

    Of many classes, those that are most often confused; all others share the last row and column.
    """
    classes, matrix = _most_confused(findings)
    count = len(classes)
    fractions = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    colors = np.zeros((count, count, 4))
    colors[..., :3] = _rgb(RED)
    colors[np.diag_indices(count)] = (*_rgb(BLUE), 0)
    # The root and the offset make even a single mistake among many visible.
    colors[..., 3] = np.where(matrix, 0.2 + 0.55 * np.sqrt(fractions), 0)

    names = [label(name) for name in classes]
    longest = max(map(len, names))
    upright = longest > 3
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
    axes.grid(visible=True, which="minor", axis="both", linewidth=0.6)
    axes.tick_params(which="minor", length=0)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("actual class")
    for (actual, predicted), number in np.ndenumerate(matrix):
        if number:
            axes.text(predicted, actual, str(number), size=size, ha="center", va="center_baseline")
    return figure


def confusions(findings: Findings) -> list[tuple[str, str, int]]:
    """Return the most frequent pairs of actual and predicted class, with their number of images.

    Nothing if the matrix shows all classes.
    """
    classes = findings.dataset.classes
    if len(classes) <= MOST_ROWS:
        return []
    pairs = _by_frequency(findings)[:MOST_LISTED]
    return [(classes[actual], classes[predicted], count) for (actual, predicted), count in pairs]


def _by_frequency(findings: Findings) -> list[tuple[tuple[int, int], int]]:
    """Return pairs of actual and predicted class, the most frequent first, then by class."""
    counts = Counter((one.actual, one.predicted) for _, one in mistakes(findings.predictions))
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def _most_confused(findings: Findings) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return names and matrix of at most `MOST_ROWS` classes, in the order of the labels.

    If there are more, the last row and column are all others; how these are classified among
    themselves is left out.
    """
    classes, matrix = findings.dataset.classes, findings.confusion()
    if len(classes) <= MOST_ROWS:
        return classes, matrix
    by_frequency = chain.from_iterable(pair for pair, _ in _by_frequency(findings))
    ranked = dict.fromkeys(chain(by_frequency, range(len(classes))))
    chosen = sorted(islice(ranked, MOST_ROWS - 1))
    row = np.full(len(classes), len(chosen))
    row[chosen] = np.arange(len(chosen))
    small = np.zeros((MOST_ROWS, MOST_ROWS), np.int64)
    np.add.at(small, (row[:, None], row), matrix)
    small[-1, -1] = 0
    return (*(classes[index] for index in chosen), OTHERS), small


def _rgb(color: str) -> tuple[float, float, float]:
    red, green, blue = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue
