"""Warmup: the weights learn before the architecture does.

Skip connections alone give a gradient to few of the weights. Search would then sample untrained
operations (which lowered accuracy from 39 % to 10 %). So in the epochs after the skip-only ones
each edge takes a uniformly drawn operation with a probability that rises to `explore`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from pipeline.batches.randomness import generator
from pipeline.harness.records import Row
from pipeline.space.blueprint import Blueprint, plan
from pipeline.space.network import build
from pipeline.space.params import SupernetParams
from pipeline.space.relaxation import EdgeWeights, explore, initial_logits, skip_only
from pipeline.supernet.records import describe
from pipeline.supernet.supernet import (
    Supernet,
    SupernetContext,
    along,
    choices,
    restored,
    snapshot,
)
from pipeline.training.context import Epoch, losses_of
from pipeline.training.failing import Choices
from pipeline.training.optimizers import Sgd
from pipeline.training.resume import Snapshot
from pipeline.training.stability import Expected
from pipeline.training.steps import Tally, weight_step
from pipeline.warming.params import WarmupParams


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmup:
    """The phase (see `Phase`): from fresh weights to a warmed-up supernet."""

    context: SupernetContext
    network: SupernetParams
    params: WarmupParams

    @property
    def epochs(self) -> int:
        """Number of epochs that it runs."""
        return self.params.epochs

    @property
    def expected(self) -> Expected:
        """What its epochs are judged against: no accuracy, as the task changes every epoch."""
        return Expected(classes=self.context.classes)

    def begin(self) -> Supernet:
        """Return a fresh supernet with its initial logits."""
        context, params = self.context, self.network
        blueprint = plan(
            params,
            image_channels=context.channels,
            classes=context.classes,
            image_size=max(context.image_size),
        )
        weights = generator(context.seed, "warmup", "weights")
        network = build(blueprint, generator=weights, device=context.images.device)
        logits = initial_logits(
            blueprint,
            none=params.initial_none,
            skip=params.initial_skip,
            noise=params.initial_noise,
            generator=generator(context.seed, "warmup", "logits"),
        )
        return Supernet(
            network=network,
            optimizer=Sgd.of(network.parameters(), context.training),
            logits=logits,
            temperature=1.0,
            micro_batch=context.training.batch_size,
        )

    def train(self, state: Supernet, slowdown: float, done: Sequence[Row]) -> Iterator[Row]:
        """Train the weights; yield a row after each epoch, when `state` is complete."""
        context = replace(self.context, slowdown=slowdown)
        while state.epoch < self.params.epochs:
            yield self._epoch(state, context, done)

    def choices(self, state: Supernet) -> Choices:
        """Return what is still to be chosen."""
        return choices(state, self.context)

    def snapshot(self, state: Supernet) -> Snapshot:
        """Return the state as JSON values and tensors, which are not copied."""
        return snapshot(state)

    def resumed(self, saved: Snapshot) -> Supernet:
        """Return the state of a snapshot."""
        return Supernet(**restored(saved, self.context.training, self.context.images.device))

    def _epoch(self, state: Supernet, context: SupernetContext, done: Sequence[Row]) -> Row:
        number, params = state.epoch + 1, self.params
        epoch = Epoch(
            phase="warmup",
            number=number,
            done=state.epoch,
            epochs=params.epochs,
            schedule=params,
            losses=losses_of(done),
        )
        draw = partial(
            _draw,
            state.network.blueprint,
            state.logits,
            probability=exploration(params, number),
            auxiliary=context.training.auxiliary_skip,
        )
        tally = Tally()
        for step in context.steps(epoch):
            path = draw(generator(context.seed, "warmup", "path", number, step.number))
            weight_step(state, step, partial(along, state.network, path), tally)
        state.epoch = number
        kind = "skip" if number <= params.skip_epochs else "explore"
        return {"phase": kind, **describe(context, state, draw, tally)}


def exploration(params: WarmupParams, epoch: int) -> float:
    """Return the probability that an edge explores in an epoch (counted from 1).

    It is 0 at first, then rises linearly to `explore`, at the latest by the end of warmup.
    """
    ramp = max(1, min(params.ramp_epochs, params.epochs - params.skip_epochs))
    risen = (epoch - params.skip_epochs) / ramp
    return params.explore * min(1.0, max(0.0, risen))


def _draw(
    blueprint: Blueprint,
    logits: Tensor,
    source: torch.Generator,
    *,
    probability: float,
    auxiliary: float,
) -> EdgeWeights:
    if probability == 0:
        return skip_only(blueprint)
    drawn = explore(blueprint, probability=probability, generator=source, logits=logits)
    return replace(drawn, auxiliary=auxiliary)
