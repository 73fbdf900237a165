"""The layers of operations, as data from which `operations.py` builds modules.

Widths are multiples of the channels of the edge, 1 unless a block expands inside.

No torch here, so that reading params, which needs the names of operations, starts fast.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Relu:
    """A ReLU. inplace: whether it overwrites its input, which nothing else may then read."""

    inplace: bool = False


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution without bias. kernel: side in pixels, odd. inputs, outputs: widths."""

    kernel: int
    inputs: int = 1
    outputs: int = 1


@dataclass(frozen=True, slots=True)
class Strip:
    """A convolution over one row or column of pixels; its stride applies in that direction only."""

    kernel: int
    along: Literal["width", "height"]


@dataclass(frozen=True, slots=True)
class DepthwiseConvolution:
    """A convolution of each channel by itself. kernel: side in taps, odd."""

    kernel: int
    dilation: int = 1
    width: int = 1


@dataclass(frozen=True, slots=True)
class Norm:
    """Batch normalisation."""

    width: int = 1


@dataclass(frozen=True, slots=True)
class MaxPool:
    """The maximum of 3x3 pixels."""


@dataclass(frozen=True, slots=True)
class AveragePool:
    """The mean of 3x3 pixels, without those outside the image."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The unchanged input; where the size is halved, a ReLU and a factorized reduction."""


Layer = Relu | Convolution | Strip | DepthwiseConvolution | Norm | MaxPool | AveragePool | Identity
STRIDING = (Convolution, DepthwiseConvolution, MaxPool, AveragePool, Identity)
"""Layers that can halve the size; only the first of them in an operation does."""
