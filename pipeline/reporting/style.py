"""The style of all pictures, and how a figure becomes a file.

The same figure and the same matplotlib give the same bytes. Text stays text. An SVG follows the
reader's light or dark scheme and has its own background, so that it is readable on any page; a PNG
is light.
"""

import base64
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from pipeline.harness.showing import shown

INK, MUTED, FAINT, PAPER = "#1f2933", "#66727f", "#d3dae1", "#fdfdfe"
SCHEME = {
    INK: ("ink", "#e4e9ef"),
    MUTED: ("muted", "#98a4b1"),
    FAINT: ("faint", "#3a444f"),
    PAPER: ("paper", "#12171d"),
}
"""Colour of the light scheme -> its name in CSS, and the colour of the dark scheme."""

BLUE, ORANGE, GREEN, PURPLE, RED = "#3d8bfd", "#e8913a", "#2fa866", "#a06be8", "#e5534b"
PHASE_COLORS = {"warmup": ORANGE, "search": BLUE, "growth": GREEN, "optimize": PURPLE}

HOVER = "hover: "
"""How the id of a group in an SVG begins that holds words for a pointer that rests on it."""
FONTS = "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif"
"""Fonts of an SVG. It is laid out for DejaVu Sans, which is the widest of them."""

OPAQUE, QUALITY = 255, 85
"""Alpha of an image without holes; quality of a JPEG image, 0 to 100."""

RC: dict[Any, Any] = {
    "font.size": 10,
    "text.color": INK,
    "text.parse_math": False,  # a class may be called $x$
    "axes.edgecolor": FAINT,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "axes.labelsize": 9,
    "ytick.left": False,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "figure.facecolor": PAPER,
    "savefig.dpi": 144,
    "image.interpolation": "nearest",
    "svg.fonttype": "none",
    "svg.hashsalt": "aso-se",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture. svg: an element for a page that defines the colours of SCHEME. png: a file."""

    svg: str
    png: bytes

    @property
    def svg_file(self) -> bytes:
        """The SVG as a file of its own, with the colours defined in it."""
        head, bracket, body = self.svg.partition(">")
        return f"{head}{bracket}\n<style>{colors()}</style>{body}\n".encode()


@contextmanager
def drawing() -> Iterator[None]:
    """Draw in this style, whatever the user's matplotlibrc says."""
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(RC)
        # Names of classes may be in any script; the SVG holds them as text.
        warnings.filterwarnings("ignore", r"Glyph .* missing from font")
        yield


def render(figure: Figure, description: str) -> Picture:
    """Return a figure as SVG and PNG; description: text for people who cannot see it."""
    png = io.BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None})
    text = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(text, format="svg", metadata=nothing)
    svg = re.sub(r"data:image/png;base64,\s*([^\"]+)", _smaller, text.getvalue())
    return Picture(svg=_scheme(svg, description), png=png.getvalue())


def colors() -> str:
    """Return CSS that defines the colours of SCHEME for light and dark."""
    light = "".join(f"--{name}:{color};" for color, (name, _) in SCHEME.items())
    dark = "".join(f"--{name}:{color};" for name, color in SCHEME.values())
    return f":root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}"


def label(text: str, length: int = 24) -> str:
    """Return a name for display: unprintable characters escaped, cut to `length` characters."""
    plain = shown(text)
    return plain if len(plain) <= length else f"{plain[: length - 1]}…"


def _smaller(png: re.Match[str]) -> str:
    """Return an image within an SVG as JPEG if it is a photo, which that makes much smaller."""
    image, content = Image.open(io.BytesIO(base64.b64decode(png[1]))), io.BytesIO()
    if np.asarray(image)[..., 3].min() < OPAQUE:
        return png[0]
    image.convert("RGB").save(content, "JPEG", quality=QUALITY)
    text = base64.b64encode(content.getvalue()).decode()
    return f"data:image/jpeg;base64,{text}" if len(text) < len(png[1]) else png[0]


def _scheme(svg: str, description: str) -> str:
    """Return the element of matplotlib's SVG, with colours and fonts that a page can set."""
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r' id="[a-z0-9]+_\d+"', "", svg)  # unused, and not unique among several pictures
    # Nothing is painted there, so only 'all' lets it notice the pointer.
    svg = re.sub(f'<g id="{HOVER}([^"]*)">', r'<g pointer-events="all"><title>\1</title>', svg)
    svg = re.sub(r"font: ([^;\"]*?px) [^;\"]*", rf"font: \1 {FONTS}", svg)
    for color, (name, _) in SCHEME.items():
        svg = svg.replace(color, f"var(--{name},{color})")
    return svg.replace("<svg", f'<svg role="img" aria-label="{description}"', 1)
