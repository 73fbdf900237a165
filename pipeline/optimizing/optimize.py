"""Optimize: the architecture is fixed; its discrete network is trained to the end."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pipeline.batches.batches import training_batches
from pipeline.batches.images import Images
from pipeline.batches.params import AugmentationParams
from pipeline.batches.randomness import generator
from pipeline.devices.device import autocast
from pipeline.devices.memory import at_a_time, parts, within_memory
from pipeline.devices.together import one_batch, share
from pipeline.harness import ranks
from pipeline.harness.records import Row
from pipeline.optimizing.auxiliary import AuxiliaryHead, auxiliary_cell, auxiliary_head
from pipeline.optimizing.params import OptimizeParams
from pipeline.space.cell import DropPath
from pipeline.space.checkpoint import Checkpoint
from pipeline.space.network import Network, build, discretize
from pipeline.space.relaxation import decide
from pipeline.training.evaluation import estimate_statistics, evaluate
from pipeline.training.optimizers import Sgd
from pipeline.training.params import TrainingParams
from pipeline.training.steps import Tally, descend, warmed_cosine

N = TypeVar("N", bound=nn.Module)


@dataclass(slots=True, kw_only=True)
class OptimizeState(Generic[N]):
    """The complete state of training a network to the end.

    averaged: the EMA of the network, or None. micro_batch: images at a time, fewer than a batch
    once memory was used up.
    """

    network: N
    auxiliary: AuxiliaryHead | None
    averaged: AveragedModel | None
    optimizer: Sgd
    micro_batch: int
    epoch: int
    first_epoch: int

    @property
    def result(self) -> N:
        """The network that counts: the averaged one where there is one."""
        return self.network if self.averaged is None else cast("N", self.averaged.module)


def start(
    grown: Checkpoint,
    images: Images,
    params: OptimizeParams,
    training: TrainingParams,
    *,
    seed: int,
) -> OptimizeState[Network]:
    """Extract the discrete network.

    Its BatchNorm statistics are re-estimated, for they were of other paths.
    """
    supernet = grown.network
    genotype = decide(grown.searched(), supernet.blueprint)
    if params.from_scratch:
        source = generator(seed, "optimize", "weights")
        network = build(supernet.blueprint, genotype, generator=source, device=images.device)
    else:
        network = discretize(supernet, genotype)
        estimate_statistics(network, images, training)
    return begin(network, params, training, epoch=grown.fact("epoch"), seed=seed)


def begin(
    network: N, params: OptimizeParams, training: TrainingParams, *, epoch: int, seed: int
) -> OptimizeState[N]:
    """Return the state in which the training of a network begins.

    A network without cells has no second head. epoch: done before.
    """
    auxiliary = None
    if params.auxiliary_weight and isinstance(network, Network):
        auxiliary = auxiliary_head(network, seed)
    parameters = [*network.parameters(), *(auxiliary.parameters() if auxiliary else ())]
    averaged = None
    if params.ema_decay:
        average = get_ema_multi_avg_fn(params.ema_decay)  # type: ignore[no-untyped-call]
        averaged = AveragedModel(network, multi_avg_fn=average, use_buffers=True)
    return OptimizeState(
        network=network,
        auxiliary=auxiliary,
        averaged=averaged,
        optimizer=replace(
            Sgd.of(parameters, training),
            weight_decay=params.weight_decay,
            nesterov=True,
            decays_all=False,
        ),
        micro_batch=training.batch_size,
        epoch=epoch,
        first_epoch=epoch,
    )


def snapshot(state: OptimizeState[Any]) -> dict[str, Any]:
    """Return the state as tensors, which stay its own, and as what JSON holds."""
    return {
        "network": state.network.state_dict(),
        "auxiliary": state.auxiliary and state.auxiliary.state_dict(),
        "averaged": state.averaged and state.averaged.state_dict(),
        "momentum": state.optimizer.buffers,
        "micro_batch": state.micro_batch,
        "epoch": state.epoch,
    }


def resumed(state: OptimizeState[N], saved: dict[str, Any]) -> OptimizeState[N]:
    """Return a fresh state, brought to where a snapshot of the same params was taken."""
    for name in ("network", "auxiliary", "averaged"):
        if saved[name]:
            getattr(state, name).load_state_dict(saved[name])
    state.optimizer.load(saved["momentum"])
    state.micro_batch = at_a_time(saved["micro_batch"], state.micro_batch)
    state.epoch = saved["epoch"]
    return state


def epochs(
    state: OptimizeState[Any],
    images: Images,
    validation: Images | None,
    *,
    params: OptimizeParams,
    training: TrainingParams,
    augmentation: AugmentationParams,
    seed: int,
    slowdown: float = 1.0,
) -> Iterator[Row]:
    """Train; yield a row after each epoch, when `state` is the whole state.

    validation: images to watch; None where they are trained on. slowdown: factor on the learning
    rate.
    """
    rising = min(1.0, params.rising_epochs / params.epochs)
    while (done := state.epoch - state.first_epoch) < params.epochs:
        epoch = state.epoch + 1
        batches = training_batches(
            images,
            batch_size=training.batch_size,
            augmentation=augmentation,
            seed=seed,
            purpose=("optimize", epoch),
        )
        tally, seen = Tally(), 0
        drop = params.drop_path * done / max(1, params.epochs - 1)
        for number, (batch, labels) in enumerate(batches):
            progress = (done + seen / len(images)) / params.epochs
            seen += len(labels)
            rate = warmed_cosine(params.learning_rate, params.learning_rate_end, progress, rising)
            weight_step(
                state,
                batch,
                labels,
                params=params,
                drop_path=drop,
                seed=seed,
                number=number,
                learning_rate=slowdown * rate,
                gradient_clip=training.gradient_clip,
                tally=tally,
            )
            if state.averaged is not None:
                state.averaged.update_parameters(state.network)
        state.epoch = epoch
        row: Row = {
            "epoch": epoch,
            **tally.row(),
            "micro_batch": state.micro_batch,
        }
        if validation is not None:
            loss_now, accuracy = evaluate(state.result, validation, training.evaluation_batch_size)
            row |= {"validation_loss": loss_now, "validation_accuracy": accuracy}
        yield row


def weight_step(
    state: OptimizeState[Any],
    batch: Tensor,
    labels: Tensor,
    *,
    params: OptimizeParams,
    drop_path: float,
    seed: int,
    number: int,
    learning_rate: float,
    gradient_clip: float,
    tally: Tally,
) -> None:
    """Fit the weights, in parts where memory is used up; of several processes each takes a share.

    drop_path: probability of dropping an operation's output. number: of the step in its epoch.
    """
    batch, labels, total = share(batch, labels)

    def step(micro_batch: int) -> tuple[Tensor, list[Tensor]]:
        outputs = []
        epoch = state.epoch + 1
        rank = (ranks.number(),) if ranks.number() else ()  # alone, or first: the same numbers
        source = generator(seed, "optimize", "drop_path", epoch, number, *rank, device=batch.device)
        path = DropPath(probability=drop_path, generator=source) if drop_path else None

        def losses() -> Iterator[Tensor]:
            for images, targets in parts(batch, labels, micro_batch):
                logits, loss = _loss(state, images, targets, params=params, drop_path=path)
                outputs.append(logits.detach())
                yield loss * (len(targets) / total)

        norm = descend(
            state.optimizer, losses(), learning_rate=learning_rate, gradient_clip=gradient_clip
        )
        return norm, outputs

    (norm, outputs), state.micro_batch = within_memory(step, state.micro_batch)
    tally.add(torch.cat(outputs), labels)
    tally.add_step(norm, learning_rate)


def _loss(
    state: OptimizeState[Any],
    batch: Tensor,
    labels: Tensor,
    *,
    params: OptimizeParams,
    drop_path: DropPath | None,
) -> tuple[Tensor, Tensor]:
    with autocast(batch.device), one_batch():
        if state.auxiliary is None:
            logits = state.network(batch, drop_path=drop_path)
        else:
            outputs = list(state.network.trunk(batch, drop_path=drop_path))
            logits = state.network.classify(outputs[-1])
        loss = F.cross_entropy(logits, labels, label_smoothing=params.label_smoothing)
        if state.auxiliary is not None:
            second = state.auxiliary(outputs[auxiliary_cell(state.network)])
            loss = loss + params.auxiliary_weight * F.cross_entropy(
                second, labels, label_smoothing=params.label_smoothing
            )
    return logits, loss
