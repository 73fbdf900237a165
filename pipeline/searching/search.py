"""Search.

Weight steps on training images, architecture steps on validation images, never both on one batch.

The weights see one sampled path per step. An architecture step fits the logits alone (`gradients`
says by what), and leaves the weights and their BatchNorm statistics as they are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import count

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.batches.batches import training_batches
from pipeline.batches.images import Images
from pipeline.batches.params import AugmentationParams
from pipeline.batches.randomness import generator
from pipeline.console.progress import say
from pipeline.devices.device import autocast
from pipeline.devices.memory import parts, within_memory
from pipeline.devices.together import add_up, one_batch, share
from pipeline.harness.errors import TrainingFailedError
from pipeline.harness.records import Row
from pipeline.searching.agreement import Agreement, compare
from pipeline.searching.gradients import estimator
from pipeline.searching.params import SearchParams
from pipeline.searching.state import SearchState
from pipeline.space.network import constant, untracked_statistics
from pipeline.space.relaxation import (
    DECIDED,
    EdgeWeights,
    decide,
    explore,
    relax,
    sample,
    soft_weights,
)
from pipeline.supernet.supernet import SearchImages, Supernet, describe, weight_step
from pipeline.training.params import TrainingParams
from pipeline.training.steps import Tally, cosine


def epochs(
    state: SearchState,
    images: SearchImages,
    *,
    params: SearchParams,
    training: TrainingParams,
    augmentation: AugmentationParams,
    seed: int,
    slowdown: float = 1.0,
) -> Iterator[Row]:
    """Alternate for `params.epochs`.

    Yield a row after each epoch, when `state` is the whole state. slowdown: factor on both learning
    rates.
    """
    for done in range(state.epoch - state.first_epoch, params.epochs):
        rates = (
            cosine(params.learning_rate, params.learning_rate_end, done / params.epochs),
            cosine(params.learning_rate, params.learning_rate_end, (done + 1) / params.epochs),
        )
        yield alternate(
            state,
            images,
            params=params,
            training=training,
            augmentation=augmentation,
            rates=rates,
            left=1 - done / params.epochs,
            stage="search",
            seed=seed,
            slowdown=slowdown,
        )


def drop_at_start(before: float, history: Sequence[Row]) -> float:
    """Return how far validation accuracy fell in the worst of search's first three epochs.

    before: at the end of warmup, a fraction of 1; so is the result, at most 0 if it did not fall.
    """
    return before - min(float(row["validation_accuracy"]) for row in history[:3])


def say_if_undecided(edges: Tensor, params: SearchParams) -> None:
    """Tell the user where search left edges open, and what would decide them.

    edges: (A, E) whether no operation won.
    """
    if not edges.any():
        return
    key = "arch_reach" if params.arch_learning_rate == "auto" else "arch_learning_rate"
    say(
        f"search: {int(edges.sum())} of {edges.numel()} edges are undecided (no weight of"
        f" {DECIDED}); a larger search.{key} decides more"
    )


def say_if_stopped(agreement: Agreement | None) -> None:
    """Tell the user how many operations stopped learning before the end, if they may."""
    if agreement:
        say(
            f"search: {int(agreement.stopped.sum())} operations stopped early; of"
            f" {len(agreement.judged)} with weights {int(agreement.judged.sum())} ran often enough"
            " to be judged"
        )


def alternate(
    state: SearchState,
    images: SearchImages,
    *,
    params: SearchParams,
    training: TrainingParams,
    augmentation: AugmentationParams,
    rates: tuple[float, float],
    left: float,
    stage: str,
    seed: int,
    slowdown: float,
) -> Row:
    """Run one epoch over the training images, with an architecture step whenever one is due.

    rates: learning rate of the weights at the start and at the end of the epoch. left: share of
    search that is to come, 0 after it; exploring and the auxiliary skip connections fade with it,
    beta-decay rises. slowdown: factor on all learning rates.
    """
    epoch = state.epoch + 1
    batches = partial(
        training_batches, batch_size=training.batch_size, augmentation=augmentation, seed=seed
    )
    split = images.validation if params.arch_images == "validation" else images.training
    held_out = _endless(split, batches, stage, epoch)
    stopped = params.stop_skips is not None and params.stop_skips <= most_skips(state)
    auxiliary = training.auxiliary_skip * left
    draw = partial(
        _draw, state, params=params, probability=params.explore * left, auxiliary=auxiliary
    )
    tally, seen = Tally(), 0
    for step, (batch, labels) in enumerate(batches(images.training, purpose=(stage, epoch))):
        progress = seen / len(images.training)
        seen += len(labels)
        rate = slowdown * (rates[0] + (rates[1] - rates[0]) * progress)
        path = draw(generator(seed, stage, "path", epoch, step))
        weight_step(
            state,
            batch,
            labels,
            edge_weights=path,
            learning_rate=rate,
            gradient_clip=training.gradient_clip,
            tally=tally,
        )
        state.steps += 1
        if state.steps % (params.arch_update_freq - 1):
            continue
        unseen = next(held_out)
        if state.agreement and params.stop_operations is not None:
            state.micro_batch = compare(
                state.agreement,
                state.network,
                *unseen,
                path=path,
                least=params.stop_operations,
                micro_batch=state.micro_batch,
            )
        if not stopped:
            architecture_step(
                state,
                *unseen,
                params=params,
                gradient_clip=training.gradient_clip,
                source=generator(seed, stage, "architecture", epoch, step),
                auxiliary=auxiliary,
                beta=params.beta_decay * (1 - left),
                slowdown=slowdown,
            )
    state.epoch = epoch
    return describe(state, images, draw, training, tally, seed=seed)


def architecture_step(
    state: SearchState,
    batch: Tensor,
    labels: Tensor,
    *,
    params: SearchParams,
    gradient_clip: float,
    source: torch.Generator,
    auxiliary: float = 0.0,
    beta: float = 0.0,
    slowdown: float = 1.0,
) -> None:
    """Fit the logits on one batch of held-out images, then lower the temperature.

    The weights stay as they are. auxiliary: weight of the extra skip connection on each edge. beta:
    weight of beta-decay, the mean over all edges of logsumexp(logits) (Ye et al. 2022).
    slowdown: factor on the learning rate.

    Raises:
        TrainingFailedError: the gradient is not finite.
    """
    estimate = estimator(
        params,
        state.logits,
        temperature=_temperature(state, params),
        source=source,
        device=batch.device,
    )
    batch, labels, total = share(batch, labels)
    network = state.network

    def gradient(images: Tensor, targets: Tensor) -> Tensor | None:
        def loss_of(edge_weights: EdgeWeights) -> Tensor:
            logits = network(images, replace(edge_weights, auxiliary=auxiliary))
            return F.cross_entropy(logits, targets) * (len(targets) / total)

        with (
            autocast(batch.device),
            untracked_statistics(network),
            constant(network),
            one_batch(),
        ):
            return estimate(loss_of)

    def gradients(micro_batch: int) -> list[Tensor]:
        found = [gradient(*part) for part in parts(batch, labels, micro_batch)]
        return [one for one in found if one is not None]

    found, state.micro_batch = within_memory(gradients, state.micro_batch)
    if found:  # else every operation drawn is `none`, or nothing that ran reaches the output
        state.logits.grad = torch.stack(found).sum(0)
        add_up([state.logits.grad])
        if beta:
            edges = state.logits[..., 0].numel()
            state.logits.grad += beta / edges * state.logits.detach().softmax(-1)
        norm = torch.nn.utils.clip_grad_norm_(state.logits, gradient_clip)
        if not norm.isfinite():
            raise TrainingFailedError(f"the gradient of the logits is {float(norm)}")
        state.logit_optimizer.step(state.logits.grad, slowdown)
    state.temperature = max(params.temperature_end, state.temperature * state.anneal_rate)


def most_skips(state: Supernet) -> int:
    """Return how many skip connections that cell has whose genotype has most."""
    genotype = decide(state.logits, state.network.blueprint)
    return max(
        sum(gene.operation == "skip_connect" for genes in architecture.nodes for gene in genes)
        for architecture in genotype.architectures
    )


def _draw(
    state: SearchState,
    source: torch.Generator,
    *,
    params: SearchParams,
    probability: float,
    auxiliary: float,
) -> EdgeWeights:
    """Sample what a weight step or an evaluation runs; with `probability` an edge explores."""
    logits, temperature = state.logits.detach(), _temperature(state, params)
    if params.sampling == "soft":
        rows = relax(logits, temperature=temperature, generator=source)
        drawn = soft_weights(rows, device=state.network.head.weight.device)
        return replace(drawn, auxiliary=auxiliary)

    def choices() -> Tensor:
        return sample(logits, temperature=temperature, generator=source).argmax(-1)

    blueprint = state.network.blueprint
    drawn = explore(blueprint, probability=probability, generator=source, otherwise=choices)
    return replace(drawn, auxiliary=auxiliary)


def _temperature(state: SearchState, params: SearchParams) -> float:
    return max(params.temperature_floor, state.temperature)


def _endless(
    images: Images, batches: partial[Iterator[tuple[Tensor, Tensor]]], stage: str, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of these images, shuffled anew each time they are used up."""
    for turn in count():
        yield from batches(images, purpose=(stage, "validation", epoch, turn))
