"""A network that may cost no more than it should: how the logits keep to a target.

The most likely genotype is the one with the largest sum of logits. With a price on costs it is the
one with the largest sum of logits less price times cost, and the smallest price at which it meets
the target makes it the best that does, but for what lies between two prices (Everett 1963). Logits
keep the price, so that what is drawn from them later is cheaper too.

A architectures, E edges of a cell, O candidate operations.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from pipeline.costing.cost import cost, cost_of, total
from pipeline.costing.latency import FILE, Latency, read_latency
from pipeline.costing.parts import parts_of
from pipeline.deciding.decision import decide
from pipeline.harness.errors import ParamsError
from pipeline.space.blueprint import Blueprint
from pipeline.space.genotype import Genotype
from pipeline.space.params import GenotypeParams
from pipeline.targeting.params import TargetParams, refusal

FIRST_PRICE, LAST_PRICE = 2.0**-6, 2.0**20
"""Prices, in logits for the whole target, between which the smallest one is sought."""
HALVINGS = 8
"""Halvings of the interval that holds the smallest price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What the most likely network may cost.

    image_size: (height, width) in pixels. latency: milliseconds of parts; None without a limit on
    them. rule: what a genotype keeps; None for the rule of the space.
    """

    target: TargetParams
    image_size: tuple[int, int]
    latency: Latency | None = None
    rule: GenotypeParams | None = None

    def allows(self, blueprint: Blueprint, genotype: Genotype) -> bool:
        """Whether the network meets the target."""
        limits = self.target.limits
        if not limits:
            return True
        found = cost(blueprint, genotype, self.image_size, self.latency)
        return all(found.value(name) <= limit for name, limit in limits.items())

    @torch.no_grad()
    def fit(self, logits: Tensor, blueprint: Blueprint) -> None:
        """Lower logits, (A, E, O), in place, until their most likely genotype meets the target.

        Raises:
            ParamsError: no price does it.
        """
        if not self.target.limits or self._met(logits, blueprint):
            return
        costs = relative_costs(blueprint, self)
        low, high = 0.0, FIRST_PRICE
        while not self._met(logits - high * costs, blueprint):
            low, high = high, 2 * high
            if high > LAST_PRICE:
                raise ParamsError("\n".join(self._refusals(logits - high * costs, blueprint)))
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            if self._met(logits - middle * costs, blueprint):
                high = middle
            else:
                low = middle
        logits -= high * costs

    def _met(self, logits: Tensor, blueprint: Blueprint) -> bool:
        return self.allows(blueprint, decide(logits, blueprint, self.rule))

    def _refusals(self, logits: Tensor, blueprint: Blueprint) -> Iterator[str]:
        genotype = decide(logits, blueprint, self.rule)
        found = cost(blueprint, genotype, self.image_size, self.latency)
        for name, limit in self.target.limits.items():
            if found.value(name) > limit:
                yield refusal(name, limit, found.value(name))


def read_budget(
    target: TargetParams, image_size: tuple[int, int], rule: GenotypeParams | None = None
) -> Budget:
    """Return the budget of a target; the table of milliseconds is read only if it has a limit."""
    table = None if target.milliseconds is None else read_latency(FILE)
    return Budget(target=target, image_size=image_size, latency=table, rule=rule)


@cache
def relative_costs(blueprint: Blueprint, budget: Budget) -> Tensor:
    """Return the cost of every choice as a part of the target, summed over limits, (A, E, O).

    The cheapest choice of each edge counts as 0, which changes no softmax.
    """
    choices = parts_of(blueprint, budget.image_size).choices

    def share(architecture: int, edge: int, operation: str) -> float:
        parts = choices[architecture, edge, operation]
        found = total(cost_of(part, blueprint.space, budget.latency) for part in parts)
        return sum(found.value(name) / limit for name, limit in budget.target.limits.items())

    shares = torch.tensor(
        [
            [
                [share(architecture, edge, operation) for operation in blueprint.operations]
                for edge in range(len(blueprint.edges))
            ]
            for architecture in range(blueprint.architectures)
        ]
    )
    if blueprint.none is not None and not blueprint.rules.cuts:
        # It cannot win, so being cheap must not make it likelier in the paths that are drawn.
        shares[..., blueprint.none] = shares.amax(-1)
    return shares - shares.amin(-1, keepdim=True)
