"""The parts of a network, as data: what its costs are sums of.

A part always runs as a whole: an operation on an edge, or what the blueprint fixes around edges.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

from pipeline.space.blueprint import Blueprint, CellPlan
from pipeline.space.genotype import Genotype

STEM, ADAPT, HALVE, REDUCTION, NORM, HEAD, GATE = (
    "stem",
    "adapt",
    "halve",
    "reduction",
    "norm",
    "head",
    "gate",
)
"""Names of the parts that a blueprint fixes."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Part:
    """Layers that run one after the other on feature maps of one size.

    name: name of an operation, or of a part that the blueprint fixes. inputs, outputs: channels.
    height, width: of the input, in pixels. stride: 2 if the size is halved.
    """

    name: str
    inputs: int
    outputs: int
    height: int
    width: int
    stride: int = 1

    @property
    def pixels(self) -> int:
        """Number of pixels of the output; odd sizes are rounded up."""
        return -(-self.height // self.stride) * -(-self.width // self.stride)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of a supernet.

    fixed: those of all its networks. choices: by architecture, edge and operation, the parts of
    that choice in every cell of the architecture; empty for an operation without layers.
    """

    fixed: tuple[Part, ...]
    choices: Mapping[tuple[int, int, str], tuple[Part, ...]]

    def of(self, genotype: Genotype, blueprint: Blueprint) -> Iterator[Part]:
        """Yield the parts of a genotype's network."""
        yield from self.fixed
        edges = {edge: number for number, edge in enumerate(blueprint.edges)}
        for index, architecture in enumerate(genotype.architectures):
            for node, genes in enumerate(architecture.nodes):
                for gene in genes:
                    yield from self.choices[index, edges[gene.source, node], gene.operation]


@cache
def parts_of(blueprint: Blueprint, image_size: tuple[int, int]) -> Parts:
    """Return the parts of a supernet. image_size: (height, width) in pixels."""
    walk = _Walk(blueprint, image_size)
    for plan in blueprint.cells:
        walk.cell(plan)
    return walk.end()


@dataclass(slots=True)
class _Walk:
    """A walk through the cells.

    maps: channels, height and width of the two outputs before. halve_first: whether the first of
    them has twice the resolution of the last.
    """

    blueprint: Blueprint
    image_size: tuple[int, int]
    fixed: list[Part] = field(default_factory=list)
    choices: dict[tuple[int, int, str], list[Part]] = field(
        default_factory=lambda: defaultdict(list)
    )
    maps: list[tuple[int, int, int]] = field(default_factory=list)
    halve_first: bool = False

    def __post_init__(self) -> None:
        blueprint, (height, width) = self.blueprint, self.image_size
        read, stride = (blueprint.image_channels, height, width), blueprint.stem_stride
        for outputs in (*blueprint.stem_widths, blueprint.stem_channels):
            self._fix(STEM, read, outputs, stride=stride)
            read = (outputs, -(-read[1] // stride), -(-read[2] // stride))
        self.maps = [read] * 2

    def cell(self, plan: CellPlan) -> None:
        """Add the parts of a cell."""
        space, channels = self.blueprint.rules, plan.channels
        _, height, width = self.maps[1]
        reduces = plan.kind == "reduction"
        if space.adapts:
            read = self.maps[-len(space.inputs) :]
            for number, one in enumerate(read):
                halved = self.halve_first and number < len(read) - 1
                self._fix(HALVE if halved else ADAPT, one, channels, stride=1 + halved)
        elif reduces:
            self._fix(REDUCTION, self.maps[1], channels, stride=2)
            height, width = -(-height // 2), -(-width // 2)
        strides = space.adapts and reduces
        inner = (-(-height // 2), -(-width // 2)) if strides else (height, width)
        for number, (source, _) in enumerate(self.blueprint.edges):
            outer = source < len(space.inputs)
            for name in self.blueprint.operations:
                choice = self.choices[plan.architecture, number, name]
                if space.operation(name).layers is not None:
                    size = (height, width) if outer else inner
                    stride = 2 if strides and outer else 1
                    choice.append(_part(name, (channels, *size), channels, stride=stride))
        if plan.grown:
            self._fix(GATE, self.maps[1], self.maps[1][0])
        else:
            self.halve_first = reduces
            self.maps = [self.maps[1], (self.blueprint.output_nodes * channels, *inner)]

    def end(self) -> Parts:
        """Add what follows the last cell; return everything."""
        features = self.maps[1]
        if self.blueprint.rules.normalises:
            self._fix(NORM, features, features[0])
        self._fix(HEAD, features, self.blueprint.classes)
        choices = {key: tuple(found) for key, found in self.choices.items()}
        return Parts(fixed=tuple(self.fixed), choices=choices)

    def _fix(self, name: str, read: tuple[int, int, int], outputs: int, stride: int = 1) -> None:
        self.fixed.append(_part(name, read, outputs, stride=stride))


def _part(name: str, read: tuple[int, int, int], outputs: int, *, stride: int) -> Part:
    inputs, height, width = read
    return Part(
        name=name, inputs=inputs, outputs=outputs, height=height, width=width, stride=stride
    )
