"""A network with all candidates, its architecture parameters, and the state of their training.

Everything that an epoch changes is here; randomness is counter-based, so nothing else needs to be
saved.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.batches.images import Images, read_training_images
from pipeline.batches.params import AugmentationParams
from pipeline.devices.device import autocast
from pipeline.devices.memory import at_a_time
from pipeline.devices.together import one_batch
from pipeline.prepared.facts import read_facts
from pipeline.space import blueprint as blueprints
from pipeline.space.blueprint import Blueprint
from pipeline.space.checkpoint import require_logits
from pipeline.space.network import Network, rebuild
from pipeline.space.relaxation import EdgeWeights
from pipeline.training.context import Context
from pipeline.training.failing import Choices
from pipeline.training.optimizers import Sgd
from pipeline.training.params import TrainingParams
from pipeline.training.stability import Expected
from pipeline.training.steps import Forward

ACCURACY = "validation_accuracy"
"""Column by which the phases that search are judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SupernetContext(Context):
    """The data and settings of warmup, search and growth.

    validation: images on which paths are evaluated and the architecture is decided.
    """

    validation: Images
    training: TrainingParams

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images in pixels."""
        height, width = self.images.pixels.shape[2:]
        return height, width


def read_context(prepare: Path, device: torch.device, params: "ContextParams") -> SupernetContext:
    """Read the images of a prepared data set for a phase that trains a supernet."""
    return SupernetContext(
        images=read_training_images(prepare, "train", device),
        validation=read_training_images(prepare, "validation", device),
        classes=len(read_facts(prepare).classes),
        training=params.training,
        augmentation=params.augmentation,
        seed=params.seed,
    )


class ContextParams(Protocol):
    """The params of a context, as the stages of these phases read them."""

    @property
    def seed(self) -> int:
        """Seed of every random draw."""

    @property
    def training(self) -> TrainingParams:
        """How weights are fitted."""

    @property
    def augmentation(self) -> AugmentationParams:
        """How training varies its images."""


@dataclass(slots=True, kw_only=True)
class Supernet:
    """The complete state of warmup, search and growth.

    logits: (A, E, O) on the CPU. temperature: temperature of Gumbel-softmax. micro_batch: images at
    a time, fewer than a batch once memory ran out. epoch: epochs done since the start of warmup.
    """

    network: Network
    optimizer: Sgd
    logits: Tensor
    temperature: float
    micro_batch: int
    epoch: int = 0


def choices(supernet: Supernet, context: SupernetContext) -> Choices:
    """Return what a phase has still to choose from."""
    return Choices(
        logits=[supernet.logits],
        blueprint=supernet.network.blueprint,
        most=context.training.max_disabled,
    )


def snapshot(supernet: Supernet) -> dict[str, Any]:
    """Return the state as JSON values and tensors, which are not copied."""
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
    """Return the fields of a Supernet from a snapshot; the network is on `device`.

    Raises:
        LookupError, TypeError, ValueError, RuntimeError: it is no such snapshot.
    """
    blueprint = blueprints.from_dict(saved["blueprint"])
    network = rebuild(blueprint, None, saved["network"]).to(device)
    optimizer = Sgd.of(network.parameters(), training)
    optimizer.load(saved["momentum"])
    require_logits(saved["logits"], blueprint)
    return {
        "network": network,
        "optimizer": optimizer,
        "logits": saved["logits"],
        "temperature": saved["temperature"],
        "micro_batch": at_a_time(saved["micro_batch"], training.batch_size),
        "epoch": saved["epoch"],
    }


def along(network: Network, path: EdgeWeights | None) -> Forward:
    """Return the forward pass of a weight step along a path, which does not change the logits.

    path: None for a discrete network, which has only one.
    """

    def forward(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        with autocast(images.device), one_batch():
            logits = network(images, path)
            return logits, F.cross_entropy(logits, labels)

    return forward


def expected(
    blueprint: Blueprint, context: SupernetContext, *, before: float, accuracy: str = ACCURACY
) -> Expected:
    """Return what a phase that searches is judged against.

    before: validation accuracy when it begins. accuracy: column that continues it.
    """
    return Expected(
        classes=blueprint.classes,
        accuracy=accuracy,
        images=len(context.validation),
        before=before,
        edges=blueprint.architectures * len(blueprint.edges),
    )
