"""Sheets of photos: the surest mistakes, each beside an example, and likely wrong labels."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from pipeline.reporting.findings import MOST_SHOWN, Findings
from pipeline.reporting.photos import Photo
from pipeline.reporting.predictions import beside_examples
from pipeline.reporting.style import GREEN, INK, MUTED, RED, label

IN_A_ROW = 4

# In inches. curves.py says why matplotlib's layouts are not used.
PHOTO, PITCH = 2.1, (2.3, 2.85)
TOP, LINE = 0.3, 0.19


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A photo of a sheet, with the words above and below it. color: of those below."""

    photo: Photo
    above: str
    below: str
    color: str = RED


def draw_mistakes(findings: Findings) -> Figure:
    """Draw the surest mistakes, each beside a correctly classified image of its actual class."""
    return _sheet(
        [
            _tested(findings, number)
            for pair in beside_examples(findings.predictions)[: MOST_SHOWN // 2]
            for number in pair
        ],
        nothing="no mistakes",
    )


def _tested(findings: Findings, number: int | None) -> Shown | None:
    """Return a test image with its classes; None stays None."""
    if number is None:
        return None
    one, classes = findings.predictions[number], findings.dataset.classes
    is_right = one.actual == one.predicted
    return Shown(
        photo=findings.photos["test", number],
        above=f"is {label(classes[one.actual])}",
        below=f"→ {label(classes[one.predicted], 18)}, {one.probability:.0%}",
        color=GREEN if is_right else RED,
    )


def draw_suspects(findings: Findings) -> Figure:
    """Draw the images that are most likely mislabelled."""
    classes = findings.dataset.classes
    return _sheet(
        [
            Shown(
                photo=findings.photos[one.split, one.index],
                above=f"labelled {label(classes[one.label], 18)}",
                below=f"looks like {label(classes[one.looks_like], 18)}",
            )
            for one in findings.suspects[:MOST_SHOWN]
        ],
        nothing="no suspects",
    )


def _sheet(photos: Sequence[Shown | None], *, nothing: str) -> Figure:
    """Draw photos in rows, each with its words and its name.

    photos: None leaves a place free. nothing: text of an empty sheet.
    """
    rows = max(1, -(-len(photos) // IN_A_ROW))
    width, height = IN_A_ROW * PITCH[0], rows * PITCH[1]
    figure = Figure(figsize=(width, height))
    if not photos:
        figure.text(0.5, 0.5, nothing, size=14, color=MUTED, ha="center", va="center")
    for place, one in enumerate(photos):
        if one is None:
            continue
        row, column = divmod(place, IN_A_ROW)
        left = column * PITCH[0] + (PITCH[0] - PHOTO) / 2
        top = row * PITCH[1] + TOP
        axes = figure.add_axes(
            (left / width, 1 - (top + PHOTO) / height, PHOTO / width, PHOTO / height)
        )
        axes.set_axis_off()
        axes.imshow(
            one.photo.pixels.squeeze(),
            cmap="gray",
            vmin=0,
            vmax=255,
            # Few pixels are enlarged as squares; a photo is left to the viewer.
            interpolation="none" if one.photo.is_original else "nearest",
        )
        words = (
            (top - 0.07, "bottom", one.above, 9, INK),
            (top + PHOTO + 0.04, "top", one.below, 9, one.color),
            (top + PHOTO + 0.04 + LINE, "top", _ending(one.photo.name), 7, MUTED),
        )
        for y, side, text, size, color in words:
            x = left + PHOTO / 2
            figure.text(
                x / width, 1 - y / height, text, size=size, color=color, ha="center", va=side
            )
    return figure


def _ending(name: str, length: int = 36) -> str:
    """Return the end of a name, which tells files apart."""
    plain = label(name, len(name) * 6)
    return plain if len(plain) <= length else f"…{plain[1 - length :]}"
