"""Optimize: train the discrete network of the fixed architecture to the end."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic

import torch
from torch import Generator, Tensor, nn

from pipeline.batches.images import Images
from pipeline.batches.randomness import generator
from pipeline.deciding.decision import decide
from pipeline.devices.device import autocast
from pipeline.devices.together import add_up, one_batch, share
from pipeline.harness import ranks
from pipeline.harness.records import Row
from pipeline.margins.margins import margins
from pipeline.optimizing.dropping import kept_paths
from pipeline.optimizing.loss import Loss
from pipeline.optimizing.mixing import mix
from pipeline.optimizing.outputs import outputs_of
from pipeline.optimizing.params import OptimizeParams
from pipeline.optimizing.state import N, OptimizeState, begin
from pipeline.space.checkpoint import read_checkpoint
from pipeline.space.network import Network, build, discretize
from pipeline.space.params import GenotypeParams
from pipeline.training.context import Context, Epoch, Step, losses_of
from pipeline.training.evaluation import estimate_statistics, evaluate
from pipeline.training.params import StatisticsParams
from pipeline.training.resume import Snapshot
from pipeline.training.stability import Expected, best
from pipeline.training.steps import Forward, Tally, weight_step


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Evaluation of a network in training, on held-out images."""

    images: Images
    batch_size: int

    def __call__(self, network: nn.Module) -> tuple[float, float]:
        """Return loss (nats) and accuracy."""
        return evaluate(network, self.images, self.batch_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimize(Generic[N]):
    """The phase (see `Phase`): from an untrained network to a trained one.

    fresh: function that returns the network and the number of epochs done before. watch: evaluation
    after each epoch, or None if no images are held out. taught: (N, K) soft targets of the training
    images, or None without a teacher.
    """

    context: Context
    params: OptimizeParams
    fresh: Callable[[], tuple[N, int]]
    watch: Watch | None = None
    taught: Tensor | None = None

    @property
    def expected(self) -> Expected:
        """What its epochs are judged against."""
        watched = self.context.images if self.watch is None else self.watch.images
        return Expected(
            classes=self.context.classes,
            accuracy="train_accuracy" if self.watch is None else "validation_accuracy",
            images=len(watched),
            patience=0 if self.watch is None else self.params.patience,
        )

    @property
    def epochs(self) -> int:
        """Number of epochs that it runs."""
        return self.params.epochs

    def begin(self) -> OptimizeState[N]:
        """Return the state of an untrained network."""
        network, epoch = self.fresh()
        return begin(network, self.params, self.context, epoch=epoch)

    def train(self, state: OptimizeState[N], slowdown: float, done: Sequence[Row]) -> Iterator[Row]:
        """Train; yield a row after each epoch, when `state` is complete."""
        context = replace(self.context, slowdown=slowdown)
        loss = Loss.of(self.params, context.images, context.classes)
        while state.epoch - state.first_epoch < self.params.epochs:
            epoch = Epoch(
                phase="optimize",
                number=state.epoch + 1,
                done=state.epoch - state.first_epoch,
                epochs=self.params.epochs,
                schedule=self.params,
                losses=losses_of(done),
            )
            tally, order, seen = Tally(), context.order(epoch), torch.zeros_like(state.margins)
            for step in context.steps(epoch):
                indices = order[step.number]
                forward = partial(self._forward, state, epoch, step, loss, indices)
                logits = weight_step(state, step, forward, tally)
                self._note_margins(seen, logits, indices)
                if state.averaged is not None:
                    state.averaged.update_parameters(state.network)
            add_up([seen])
            state.margins += seen
            state.epoch = epoch.number
            row: Row = {"epoch": state.epoch, **tally.row(), "micro_batch": state.micro_batch}
            if self.watch is not None:
                held_out, accuracy = self.watch(state.result)
                row |= {"validation_loss": held_out, "validation_accuracy": accuracy}
                if self.params.patience and best([*done, row], self.expected) == len(done):
                    state.keep()
            yield row

    def delivered_row(self, rows: Sequence[Row]) -> Row:
        """Return the row of the epoch whose network is delivered: the best with patience."""
        return rows[best(rows, self.expected) if self.expected.patience else -1]

    def choices(self, state: OptimizeState[N]) -> None:
        """Return nothing: the architecture is fixed."""

    def snapshot(self, state: OptimizeState[N]) -> Snapshot:
        """Return the state as JSON values and tensors, which are not copied."""
        return state.snapshot()

    def resumed(self, saved: Snapshot) -> OptimizeState[N]:
        """Return the state of a snapshot."""
        state = self.begin()
        state.load(saved)
        return state

    def _note_margins(self, seen: Tensor, logits: Tensor, indices: Tensor) -> None:
        """Write the margins of this process's part of a batch into `seen`.

        seen: (N,). logits: of the part. indices: of the whole batch.
        """
        labels, whole = self.context.images.labels, indices.to(seen.device)
        part, _, total = share(whole, whole)
        found, _ = margins(logits, labels[part])
        seen[part] = found * (len(whole) / total)  # a batch that all processes take is added up

    def _forward(
        self, state: OptimizeState[Any], epoch: Epoch, step: Step, loss_of: Loss, indices: Tensor
    ) -> Forward:
        """Return the forward pass of a step; a restarted step makes the same draws.

        It is called with one part of the batch after the other. indices: of the whole batch.
        """
        params, left = self.params, self.taught
        if left is not None:  # soft targets of this process's images that are still to come
            left = left[share(indices, indices)[0].to(left.device)]
        probability = params.drop_path * epoch.done / max(1, epoch.epochs - 1)

        def source(purpose: str) -> Generator:
            rank = (ranks.number(),) if ranks.number() else ()  # rank 0 draws like a single process
            whole = ("optimize", purpose, epoch.number, step.number, *rank)
            return generator(self.context.seed, *whole, device=self.context.images.device)

        def forward(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            nonlocal left
            own = taught = None
            if left is not None:
                taught, left = left[: len(labels)], left[len(labels) :]
            if mixing is not None:
                images, own = mix(
                    images, mixup=params.mixup, cutmix=params.cutmix, generator=mixing
                )
            kept = None
            if dropping is not None:
                kept = kept_paths(state.network.paths, len(images), probability, dropping)
            with autocast(images.device), one_batch():
                logits, second = outputs(state.network, state.auxiliary, images, kept)
                loss = loss_of(logits, labels, own, taught)
                if second is not None:
                    loss = loss + params.auxiliary_weight * loss_of(second, labels, own, taught)
            return logits, loss

        divided = state.micro_batch < self.context.training.batch_size
        outputs = outputs_of(self.context.images.device, divided=divided)
        dropping = source("drop_path") if params.drop_path else None
        mixing = source("mix") if params.mixup or params.cutmix else None
        return forward


def discrete_network(
    checkpoint: Path,
    context: Context,
    rules: GenotypeParams,
    training: StatisticsParams,
    *,
    from_scratch: bool,
) -> tuple[Network, int]:
    """Extract the discrete network of a grown supernet; return it and the epochs done before.

    Its BatchNorm statistics are re-estimated, because the supernet's are of other paths.
    from_scratch: whether it gets fresh weights instead of the supernet's.
    """
    images = context.images
    grown = read_checkpoint(checkpoint, images.device)
    grown.require_fit("growth", channels=context.channels, classes=context.classes)
    supernet, epoch = grown.network, grown.fact("epoch")
    genotype = decide(grown.searched(), supernet.blueprint, rules)
    if from_scratch:
        source = generator(context.seed, "optimize", "weights")
        return build(supernet.blueprint, genotype, generator=source, device=images.device), epoch
    network = discretize(supernet, genotype)
    estimate_statistics(network, images, training)
    return network, epoch
