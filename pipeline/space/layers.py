"""What an operation is made of, as data: `operations.py` builds the modules.

No torch here: whoever reads params knows which operations a search space has, and starts at once.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Relu:
    """ReLU. inplace: nobody else reads its input."""

    inplace: bool = False


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution without bias. kernel: its side in pixels; odd."""

    kernel: int


@dataclass(frozen=True, slots=True)
class Strip:
    """A convolution of one row or column of pixels, which halves the size along itself alone."""

    kernel: int
    along: Literal["width", "height"]


@dataclass(frozen=True, slots=True)
class DepthwiseConvolution:
    """A convolution of each channel by itself. kernel: its side in taps; odd."""

    kernel: int
    dilation: int = 1


@dataclass(frozen=True, slots=True)
class Norm:
    """Batch normalisation."""


@dataclass(frozen=True, slots=True)
class MaxPool:
    """The largest of 3x3 pixels."""


@dataclass(frozen=True, slots=True)
class AveragePool:
    """The mean of 3x3 pixels, of those that lie within the image."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Its input as it is; where the size is halved, a factorized reduction after a ReLU."""


Layer = Relu | Convolution | Strip | DepthwiseConvolution | Norm | MaxPool | AveragePool | Identity
STRIDING = (Convolution, DepthwiseConvolution, MaxPool, AveragePool, Identity)
"""Layers that halve the size; the first of an operation does it, and the others keep it."""
