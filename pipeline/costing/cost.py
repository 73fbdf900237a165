"""The cost of a network, counted from its blueprint without building it.

Costs add up: that of a network is the sum of those of its parts.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from pipeline.costing.latency import Latency
from pipeline.costing.parts import ADAPT, GATE, HALVE, HEAD, NORM, REDUCTION, STEM, Part, parts_of
from pipeline.space.blueprint import Blueprint
from pipeline.space.genotype import Genotype
from pipeline.space.layers import (
    Convolution,
    DepthwiseConvolution,
    Identity,
    Layer,
    Norm,
    Strip,
)
from pipeline.space.registry import SPACES
from pipeline.space.space import NONE

BYTES_OF_A_NUMBER = 4
BYTES_OF_A_CONVOLUTION, BYTES_OF_A_NORM, BYTES_OF_A_PART, BYTES_OF_A_FILE = 500, 700, 280, 2_000
"""Bytes in an ONNX file besides the numbers: rather too many than too few, so that a limit holds.

Those of a part are its sum with others.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost of a discrete network or of a part of it.

    parameters: number of parameters. mflops: millions of multiply-adds for one image, in
    convolutions and head. The tables of NAS-Bench-201 also count the head's bias, one operation for
    each class. kilobytes: estimate of the size of `model.onnx`, in 1,000 bytes. milliseconds:
    estimate of the time of an image in ONNX Runtime on one thread; 0 without a table.
    """

    parameters: int = 0
    mflops: float = 0.0
    kilobytes: float = 0.0
    milliseconds: float = 0.0

    def value(self, name: str) -> float:
        """Return the cost of that name."""
        return float(getattr(self, name))


def cost(
    blueprint: Blueprint,
    genotype: Genotype,
    image_size: tuple[int, int],
    latency: Latency | None = None,
) -> Cost:
    """Return the cost of the discrete network.

    image_size: (height, width) in pixels. latency: milliseconds of its parts, if they are known.
    """
    found = parts_of(blueprint, image_size).of(genotype, blueprint)
    file = Cost(kilobytes=BYTES_OF_A_FILE / 1e3)
    return total([file, *(cost_of(part, blueprint.space, latency) for part in found)])


def least(
    blueprint: Blueprint, image_size: tuple[int, int], name: str, *, edges_per_node: int
) -> float:
    """Return a cost that no network of the blueprint is below.

    name: field of `Cost`. edges_per_node: number of edges that a node keeps.
    """
    walked = parts_of(blueprint, image_size)

    def of(parts: Iterable[Part]) -> float:
        return sum(cost_of(one, blueprint.space).value(name) for one in parts)

    names = [one for one in blueprint.operations if one != NONE or blueprint.rules.cuts]
    found = of(walked.fixed) + (BYTES_OF_A_FILE / 1e3 if name == "kilobytes" else 0.0)
    for architecture in range(blueprint.architectures):
        for node in range(blueprint.nodes):
            edges = [e for e, (_, target) in enumerate(blueprint.edges) if target == node]
            cheapest = sorted(
                min(of(walked.choices[architecture, edge, one]) for one in names) for edge in edges
            )
            found += sum(cheapest[:edges_per_node])
    return found


def total(costs: Iterable[Cost]) -> Cost:
    """Return the sum of costs."""
    found = list(costs)
    return Cost(
        parameters=sum(one.parameters for one in found),
        mflops=sum(one.mflops for one in found),
        kilobytes=sum(one.kilobytes for one in found),
        milliseconds=sum(one.milliseconds for one in found),
    )


@cache
def cost_of(part: Part, space: str, latency: Latency | None = None) -> Cost:
    """Return the cost of a part; space: name of the search space."""
    count = _Count()
    inputs, outputs, pixels = part.inputs, part.outputs, part.pixels
    if part.name in (STEM, ADAPT):
        count.convolution(inputs * outputs * (9 if part.name == STEM else 1), pixels)
        count.norm(outputs, folded=True)
    elif part.name == HALVE:
        count.factorized_reduction(inputs, outputs, pixels)
    elif part.name == REDUCTION:
        for read, area in ((inputs, 9), (outputs, 9), (inputs, 1)):
            count.convolution(read * outputs * area, pixels)
        for _ in range(2):
            count.norm(outputs, folded=True)
    elif part.name == NORM:
        count.norm(outputs, folded=False)
    elif part.name == HEAD:
        count.convolution(inputs * outputs, 1)
        count.parameters += outputs
        count.numbers += outputs
    elif part.name == GATE:
        count.parameters += 1
        count.numbers += 1
    else:
        layers = SPACES[space].operation(part.name).layers
        assert layers is not None
        _count_operation(count, layers, part)
    size = BYTES_OF_A_NUMBER * count.numbers + count.named_bytes + BYTES_OF_A_PART
    return Cost(
        parameters=count.parameters,
        mflops=count.multiply_adds / 1e6,
        kilobytes=size / 1e3,
        milliseconds=latency.of(part, space) if latency else 0.0,
    )


@dataclass(slots=True)
class _Count:
    """Counts of a part. numbers: those in an ONNX file. named_bytes: what names and shapes take."""

    parameters: int = 0
    multiply_adds: int = 0
    numbers: int = 0
    named_bytes: int = 0

    def convolution(self, weights: int, pixels: int) -> None:
        """Count a convolution, or a linear layer of one pixel, without its bias."""
        self.parameters += weights
        self.multiply_adds += weights * pixels
        self.numbers += weights
        self.named_bytes += BYTES_OF_A_CONVOLUTION

    def norm(self, channels: int, *, folded: bool) -> None:
        """Count a normalisation. folded: whether export makes it the bias of a convolution."""
        self.parameters += 2 * channels
        self.numbers += channels if folded else 4 * channels
        self.named_bytes += 0 if folded else BYTES_OF_A_NORM

    def factorized_reduction(self, inputs: int, outputs: int, pixels: int) -> None:
        """Count two convolutions, of half the outputs each, and the normalisation of both."""
        for _ in range(2):
            self.convolution(inputs * (outputs // 2), pixels)
        self.norm(outputs, folded=False)


def _count_operation(count: _Count, layers: tuple[Layer, ...], part: Part) -> None:
    """Count the layers of an operation on an edge, whose inputs and outputs are equal."""
    channels, pixels = part.inputs, part.pixels
    height, width, before = part.height, part.width, None
    for layer in layers:
        match layer:
            case Convolution():
                area = layer.kernel**2
                count.convolution(area * layer.inputs * layer.outputs * channels**2, pixels)
            case DepthwiseConvolution():
                count.convolution(layer.kernel**2 * layer.width * channels, pixels)
            case Strip():
                if layer.along == "width":
                    width = -(-width // part.stride)
                else:
                    height = -(-height // part.stride)
                count.convolution(layer.kernel * channels**2, height * width)
            case Norm():
                folded = isinstance(before, Convolution | DepthwiseConvolution | Strip)
                count.norm(layer.width * channels, folded=folded)
            case Identity() if part.stride > 1:
                count.factorized_reduction(channels, channels, pixels)
        before = layer
