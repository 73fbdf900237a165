"""What each kind of part adds to the cost of the found network, as rows of a table."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.costing.cost import Cost, cost_of, total
from pipeline.costing.parts import ADAPT, GATE, HALVE, HEAD, NORM, REDUCTION, STEM, Part, parts_of
from pipeline.reporting.findings import Findings

WORDS = {
    STEM: "stem",
    ADAPT: "1×1 convolution of a cell's input",
    HALVE: "1×1 convolution of a cell's input, halved",
    REDUCTION: "basic block that halves",
    NORM: "normalisation before the head",
    HEAD: "head",
}
"""What is fixed around the edges, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The parts of one kind. name: operation, or words. parameters, mflops: of all together."""

    name: str
    times: int
    parameters: int
    mflops: float


def shares(findings: Findings) -> Iterator[Share]:
    """Yield a row for each operation of the found network and each fixed part, dearest first."""
    blueprint, size = findings.blueprint, (findings.dataset.height, findings.dataset.width)
    kinds: dict[str, list[Part]] = defaultdict(list)
    for part in parts_of(blueprint, size).of(findings.genotype, blueprint):
        if part.name != GATE:
            kinds[part.name].append(part)
    costs: dict[str, Cost] = {
        name: total(cost_of(part, blueprint.space) for part in parts)
        for name, parts in kinds.items()
    }
    for name, found in sorted(costs.items(), key=lambda pair: (-pair[1].mflops, pair[0])):
        yield Share(
            name=WORDS.get(name, name),
            times=len(kinds[name]),
            parameters=found.parameters,
            mflops=found.mflops,
        )
