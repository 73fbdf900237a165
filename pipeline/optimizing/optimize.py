"""Optimize: the architecture is fixed; its discrete network is trained to the end."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pipeline.data.batches import Images, training_batches
from pipeline.data.params import AugmentationParams
from pipeline.exchange.checkpoint import Checkpoint
from pipeline.exchange.records import Row
from pipeline.optimizing.params import OptimizeParams
from pipeline.randomness import generator
from pipeline.space.cell import DropPath
from pipeline.space.network import Network, build, discretize, initialize
from pipeline.space.operations import relu_conv_norm
from pipeline.space.relaxation import decide
from pipeline.training.device import autocast
from pipeline.training.evaluation import estimate_statistics, evaluate
from pipeline.training.params import TrainingParams
from pipeline.training.steps import Tally, cosine, descend, load_momentum, momentum, sgd


class AuxiliaryHead(nn.Module):
    """A second classifier on an earlier cell's output, only for training.

    (N, C, H, W) -> (N, K) logits.
    """

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.features = relu_conv_norm(inputs, inputs)
        self.head = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.head(self.features(x).relu().mean((2, 3)))
        return logits


@dataclass(slots=True, kw_only=True)
class OptimizeState:
    """The complete state of the stage. averaged: the EMA of the network, or None."""

    network: Network
    auxiliary: AuxiliaryHead | None
    averaged: AveragedModel | None
    optimizer: torch.optim.SGD
    epoch: int
    first_epoch: int

    @property
    def result(self) -> Network:
        """The network that counts: the averaged one where there is one."""
        if self.averaged is None:
            return self.network
        network = self.averaged.module
        assert isinstance(network, Network)
        return network


def start(
    grown: Checkpoint,
    images: Images,
    params: OptimizeParams,
    training: TrainingParams,
    *,
    seed: int,
) -> OptimizeState:
    """Extract the discrete network.

    Its BatchNorm statistics are re-estimated, for they were of other paths.
    """
    supernet = grown.network
    assert grown.logits is not None
    genotype = decide(grown.logits, supernet.blueprint)
    epoch = grown.facts["epoch"]
    device = images.pixels.device
    if params.from_scratch:
        source = generator(seed, "optimize", "weights")
        network = build(supernet.blueprint, genotype, generator=source, device=device)
    else:
        network = discretize(supernet, genotype)
        estimate_statistics(network, images, training)
    auxiliary = _auxiliary(network, seed) if params.auxiliary_weight else None
    parameters = [*network.parameters(), *(auxiliary.parameters() if auxiliary else ())]
    averaged = None
    if params.ema_decay:
        average = get_ema_multi_avg_fn(params.ema_decay)  # type: ignore[no-untyped-call]
        averaged = AveragedModel(network, multi_avg_fn=average, use_buffers=True)
    return OptimizeState(
        network=network,
        auxiliary=auxiliary,
        averaged=averaged,
        optimizer=sgd(parameters, training),
        epoch=epoch,
        first_epoch=epoch,
    )


def snapshot(state: OptimizeState) -> dict[str, Any]:
    """Return the state as tensors, which stay its own, and as what JSON holds."""
    return {
        "network": state.network.state_dict(),
        "auxiliary": state.auxiliary and state.auxiliary.state_dict(),
        "averaged": state.averaged and state.averaged.state_dict(),
        "momentum": momentum(state.optimizer),
        "epoch": state.epoch,
    }


def resume(state: OptimizeState, saved: dict[str, Any]) -> None:
    """Bring a fresh state to where a snapshot of the same params was taken."""
    for name in ("network", "auxiliary", "averaged"):
        if saved[name]:
            getattr(state, name).load_state_dict(saved[name])
    load_momentum(state.optimizer, saved["momentum"])
    state.epoch = saved["epoch"]


def epochs(
    state: OptimizeState,
    images: Images,
    validation: Images | None,
    *,
    params: OptimizeParams,
    training: TrainingParams,
    augmentation: AugmentationParams,
    seed: int,
) -> Iterator[Row]:
    """Train; yield a row after each epoch, when `state` is the whole state.

    validation: images to watch; None where they are trained on.
    """
    while (done := state.epoch - state.first_epoch) < params.epochs:
        epoch = state.epoch + 1
        batches = training_batches(
            images,
            batch_size=training.batch_size,
            augmentation=augmentation,
            seed=seed,
            purpose=("optimize", epoch),
        )
        tally = Tally()
        learning_rate = params.learning_rate
        drop = params.drop_path * done / max(1, params.epochs - 1)
        for step, (batch, labels) in enumerate(batches):
            progress = (done + tally.images / len(images)) / params.epochs
            learning_rate = cosine(params.learning_rate, params.learning_rate_end, progress)
            source = generator(seed, "optimize", "drop_path", epoch, step, device=batch.device)
            path = DropPath(probability=drop, generator=source) if drop else None
            loss = _loss(state, batch, labels, params=params, drop_path=path, tally=tally)
            descend(
                state.optimizer,
                loss,
                learning_rate=learning_rate,
                gradient_clip=training.gradient_clip,
            )
            if state.averaged is not None:
                state.averaged.update_parameters(state.network)
        state.epoch = epoch
        train_loss, train_accuracy = tally.read()
        row: Row = {
            "epoch": epoch,
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
            "learning_rate": learning_rate,
        }
        if validation is not None:
            loss_now, accuracy = evaluate(state.result, validation, training.evaluation_batch_size)
            row |= {"validation_loss": loss_now, "validation_accuracy": accuracy}
        yield row


def _loss(
    state: OptimizeState,
    batch: Tensor,
    labels: Tensor,
    *,
    params: OptimizeParams,
    drop_path: DropPath | None,
    tally: Tally,
) -> Tensor:
    with autocast(batch.device):
        outputs = state.network.trunk(batch, drop_path=drop_path)
        logits = state.network.classify(outputs[-1])
        loss = F.cross_entropy(logits, labels, label_smoothing=params.label_smoothing)
        if state.auxiliary is not None:
            second = state.auxiliary(outputs[auxiliary_cell(state.network)])
            loss = loss + params.auxiliary_weight * F.cross_entropy(
                second, labels, label_smoothing=params.label_smoothing
            )
    tally.add(logits, labels)
    return loss


def auxiliary_cell(network: Network) -> int:
    """Return the index of the cell that the auxiliary head reads: the last reduction."""
    return max(i for i, cell in enumerate(network.blueprint.cells) if cell.kind == "reduction")


def _auxiliary(network: Network, seed: int) -> AuxiliaryHead:
    blueprint = network.blueprint
    channels = blueprint.nodes * blueprint.cells[auxiliary_cell(network)].channels
    auxiliary = AuxiliaryHead(channels, blueprint.classes)
    initialize(auxiliary, generator(seed, "optimize", "auxiliary"))
    return auxiliary.to(memory_format=torch.channels_last).to(network.head.weight.device)
