"""What was asked of a network's cost, and what came: for the card and the report."""

from collections.abc import Mapping

from pipeline.costing.cost import cost
from pipeline.space.blueprint import Blueprint
from pipeline.space.genotype import Genotype
from pipeline.targeting.budget import Budget

ASKED, ESTIMATED, MEASURED = "asked", "estimated", "measured"

Asked = Mapping[str, Mapping[str, float]]
"""By the name of a cost: what was asked, estimated and, where a file can say it, measured."""


def compare(
    budget: Budget, blueprint: Blueprint, genotype: Genotype, measured: Mapping[str, float]
) -> Asked:
    """Return what was asked, estimated and measured, for each limit of the target.

    measured: by the name of a cost. Milliseconds are not among them: they differ from run to run.
    """
    estimated = cost(blueprint, genotype, budget.image_size, budget.latency)
    found = {}
    for name, limit in budget.target.limits.items():
        found[name] = {ASKED: limit, ESTIMATED: round(estimated.value(name), 6)}
        if name in measured:
            found[name][MEASURED] = measured[name]
    return found
