"""Warmup: weights learn before the architecture does.

Skip connections alone give a gradient to few of the weights, and search would then sample untrained
operations (that is how the earlier system fell from 39 % to 10 %). So the skip-only epochs are
followed by some in which each edge takes a uniformly drawn operation with a probability that rises
to `explore`.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from pipeline.batches.batches import training_batches
from pipeline.batches.params import AugmentationParams
from pipeline.batches.randomness import generator
from pipeline.harness.records import Row
from pipeline.space.blueprint import Blueprint, plan
from pipeline.space.network import build
from pipeline.space.params import NetworkParams
from pipeline.space.relaxation import EdgeWeights, explore, initial_logits, skip_only
from pipeline.supernet.supernet import SearchImages, Supernet, describe, restored, weight_step
from pipeline.training.optimizers import Sgd
from pipeline.training.params import TrainingParams
from pipeline.training.steps import Tally, cosine
from pipeline.warming.params import WarmupParams


def start(
    network_params: NetworkParams,
    training: TrainingParams,
    *,
    image_channels: int,
    classes: int,
    seed: int,
    device: torch.device,
) -> Supernet:
    """Return a fresh supernet with its initial logits."""
    blueprint = plan(network_params, image_channels=image_channels, classes=classes)
    network = build(blueprint, generator=generator(seed, "warmup", "weights"), device=device)
    logits = initial_logits(
        blueprint,
        none=network_params.initial_none,
        skip=network_params.initial_skip,
        noise=network_params.initial_noise,
        generator=generator(seed, "warmup", "logits"),
    )
    return Supernet(
        network=network,
        optimizer=Sgd.of(network.parameters(), training),
        logits=logits,
        temperature=1.0,
        micro_batch=training.batch_size,
    )


def resumed(saved: dict[str, Any], training: TrainingParams, device: torch.device) -> Supernet:
    """Return the state of a snapshot."""
    return Supernet(**restored(saved, training, device))


def exploration(params: WarmupParams, epoch: int) -> float:
    """Return the probability that an edge explores in an epoch (counted from 1).

    0, then rising evenly to `explore`, where it stays; it is there by the end of warmup.
    """
    ramp = max(1, min(params.ramp_epochs, params.epochs - params.skip_epochs))
    risen = (epoch - params.skip_epochs) / ramp
    return params.explore * min(1.0, max(0.0, risen))


def epochs(
    supernet: Supernet,
    images: SearchImages,
    *,
    params: WarmupParams,
    training: TrainingParams,
    augmentation: AugmentationParams,
    seed: int,
    slowdown: float = 1.0,
) -> Iterator[Row]:
    """Train the weights; yield a row after each epoch, when `supernet` is the whole state.

    Logits are untouched. slowdown: factor on the learning rate.
    """
    blueprint = supernet.network.blueprint
    while supernet.epoch < params.epochs:
        epoch = supernet.epoch + 1
        draw = partial(
            _draw,
            blueprint,
            probability=exploration(params, epoch),
            auxiliary=training.auxiliary_skip,
        )
        batches = training_batches(
            images.training,
            batch_size=training.batch_size,
            augmentation=augmentation,
            seed=seed,
            purpose=("warmup", epoch),
        )
        tally, seen = Tally(), 0
        for step, (batch, labels) in enumerate(batches):
            done = (supernet.epoch + seen / len(images.training)) / params.epochs
            seen += len(labels)
            rate = slowdown * cosine(params.learning_rate, params.learning_rate_end, done)
            weight_step(
                supernet,
                batch,
                labels,
                edge_weights=draw(generator(seed, "warmup", "path", epoch, step)),
                learning_rate=rate,
                gradient_clip=training.gradient_clip,
                tally=tally,
            )
        supernet.epoch = epoch
        yield {
            "phase": "skip" if epoch <= params.skip_epochs else "explore",
            **describe(supernet, images, draw, training, tally, seed=seed),
        }


def _draw(
    blueprint: Blueprint, source: torch.Generator, *, probability: float, auxiliary: float
) -> EdgeWeights:
    if probability == 0:
        return skip_only(blueprint)
    drawn = explore(blueprint, probability=probability, generator=source)
    return replace(drawn, auxiliary=auxiliary)
