"""Supernet.

A network with all candidates, its architecture parameters, and the state of what trains both.

Everything that an epoch changes is here; randomness is counter-based, so nothing else has to be
saved.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from pipeline.batches.images import Images
from pipeline.batches.randomness import generator
from pipeline.devices.device import autocast
from pipeline.devices.memory import at_a_time, parts, within_memory
from pipeline.devices.together import one_batch, share
from pipeline.harness.records import Row
from pipeline.space import blueprint as blueprints
from pipeline.space.blueprint import Blueprint
from pipeline.space.network import Network, rebuild
from pipeline.space.relaxation import EdgeWeights, concentration, decide
from pipeline.supernet.evaluation import evaluate_genotype, evaluate_paths
from pipeline.training.optimizers import Sgd
from pipeline.training.params import TrainingParams
from pipeline.training.stability import Expected
from pipeline.training.steps import Tally, descend

METRICS = (
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "genotype_accuracy",
    "temperature",
    "entropy",
    "entropy_fraction",
    "max_weight",
    "share_skip_connect",
    "cells",
    "channels",
    "parameters",
    "recoveries",
)
"""Columns of the last epoch that become a stage's metrics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchImages:
    """The two splits that a supernet sees: weights learn from one, decisions from the other."""

    training: Images
    validation: Images


@dataclass(slots=True, kw_only=True)
class Supernet:
    """The complete state of warmup, search and growth.

    logits: (A, E, O) on the CPU. epoch: epochs done since the start of warmup. temperature: of
    Gumbel-softmax. micro_batch: images at a time, fewer than a batch once memory was used up.
    """

    network: Network
    optimizer: Sgd
    logits: Tensor
    temperature: float
    micro_batch: int
    epoch: int = 0


def snapshot(supernet: Supernet) -> dict[str, Any]:
    """Return the state as tensors, which stay its own, and as what JSON holds."""
    return {
        "blueprint": supernet.network.blueprint.to_dict(),
        "network": supernet.network.state_dict(),
        "momentum": supernet.optimizer.buffers,
        "logits": supernet.logits,
        "temperature": supernet.temperature,
        "micro_batch": supernet.micro_batch,
        "epoch": supernet.epoch,
    }


def restored(
    saved: dict[str, Any], training: TrainingParams, device: torch.device
) -> dict[str, Any]:
    """Return the fields of a Supernet from a snapshot; the network is on `device`."""
    blueprint = blueprints.from_dict(saved["blueprint"])
    network = rebuild(blueprint, None, saved["network"]).to(device)
    optimizer = Sgd.of(network.parameters(), training)
    optimizer.load(saved["momentum"])
    return {
        "network": network,
        "optimizer": optimizer,
        "logits": saved["logits"],
        "temperature": saved["temperature"],
        "micro_batch": at_a_time(saved["micro_batch"], training.batch_size),
        "epoch": saved["epoch"],
    }


def weight_step(
    supernet: Supernet,
    batch: Tensor,
    labels: Tensor,
    *,
    edge_weights: EdgeWeights,
    learning_rate: float,
    gradient_clip: float,
    tally: Tally,
) -> None:
    """Fit the weights of the operations that `edge_weights` runs; the logits stay as they are.

    Where memory is used up the batch is divided: one step all the same, with the sum of the
    gradients of its parts, each of which BatchNorm normalises by itself. Of several processes each
    takes a share of the batch, and BatchNorm sees all of it.
    """
    batch, labels, total = share(batch, labels)

    def step(micro_batch: int) -> tuple[Tensor, list[Tensor]]:
        outputs = []

        def losses() -> Iterator[Tensor]:
            for images, targets in parts(batch, labels, micro_batch):
                with autocast(batch.device), one_batch():
                    logits = supernet.network(images, edge_weights)
                    loss = F.cross_entropy(logits, targets) * (len(targets) / total)
                outputs.append(logits.detach())
                yield loss

        norm = descend(
            supernet.optimizer, losses(), learning_rate=learning_rate, gradient_clip=gradient_clip
        )
        return norm, outputs

    (norm, outputs), supernet.micro_batch = within_memory(step, supernet.micro_batch)
    tally.add(torch.cat(outputs), labels)
    tally.add_step(norm, learning_rate)


def expected(
    blueprint: Blueprint,
    images: SearchImages,
    *,
    before: float,
    accuracy: str = "validation_accuracy",
) -> Expected:
    """Return what a phase that searches is measured against.

    before: validation accuracy that it begins with. accuracy: column that goes on from it.
    """
    return Expected(
        classes=blueprint.classes,
        accuracy=accuracy,
        images=len(images.validation),
        before=before,
        edges=blueprint.architectures * len(blueprint.edges),
    )


def describe(
    supernet: Supernet,
    images: SearchImages,
    draw: Callable[[Generator], EdgeWeights],
    params: TrainingParams,
    tally: Tally,
    *,
    seed: int,
) -> Row:
    """Return what is watched at the end of every epoch.

    Its paths are drawn from the same numbers in every epoch of every phase, so that the accuracies
    of two epochs differ by what was learnt, hardly by what was drawn.

    draw: source of randomness -> edge weights as this epoch's training drew them. tally: of the
    epoch's weight steps.

    Raises:
        TrainingFailedError: something is not finite.
    """
    trained = tally.row()
    network = supernet.network
    blueprint = network.blueprint

    def path(number: int) -> EdgeWeights:
        return draw(generator(seed, "evaluation", "path", number))

    validation_loss, validation_accuracy = evaluate_paths(network, images.validation, path, params)
    genotype = decide(supernet.logits, blueprint)
    _, genotype_accuracy = evaluate_genotype(
        network, genotype, images.training, images.validation, params
    )
    return {
        "epoch": supernet.epoch,
        **trained,
        "validation_loss": validation_loss,
        "validation_accuracy": validation_accuracy,
        "genotype_accuracy": genotype_accuracy,
        "temperature": supernet.temperature,
        **concentration(supernet.logits, blueprint.operations),
        "cells": len(blueprint.cells),
        "channels": blueprint.cells[0].channels,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "micro_batch": supernet.micro_batch,
    }
