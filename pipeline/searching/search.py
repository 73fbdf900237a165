"""Search.

Weight steps on training images, architecture steps on validation images, never both on one batch.

The weights see one sampled path per step. An architecture step differentiates the logits alone,
through the gates of the sampled path (GDAS; Dong & Yang 2019), and leaves the weights and their
BatchNorm statistics as they are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.data.batches import batch_sizes, training_batches
from pipeline.data.params import AugmentationParams
from pipeline.errors import TrainingFailedError
from pipeline.exchange.checkpoint import Checkpoint
from pipeline.exchange.records import Row
from pipeline.randomness import generator
from pipeline.searching.params import SearchParams
from pipeline.space.network import constant, untracked_statistics
from pipeline.space.relaxation import EdgeWeights, hard_weights, relax, sample, soft_weights
from pipeline.training import supernet
from pipeline.training.device import autocast
from pipeline.training.memory import parts, within_memory
from pipeline.training.optimizers import Adam, Sgd
from pipeline.training.params import TrainingParams
from pipeline.training.steps import Tally, cosine
from pipeline.training.supernet import SearchImages, Supernet, describe, weight_step
from pipeline.training.together import add_up, one_batch, share


@dataclass(slots=True, kw_only=True)
class SearchState(Supernet):
    """A supernet whose logits learn too.

    logit_optimizer: Adam over the logits. anneal_rate: factor on the temperature per architecture
    step. first_epoch: epochs done before the phase. steps: weight steps since then, which decide
    when an architecture step is due.
    """

    logit_optimizer: Adam
    anneal_rate: float
    first_epoch: int
    steps: int = 0


def architecture_steps(images: int, batch_size: int, epochs: int, arch_update_freq: int) -> int:
    """Return how many architecture steps a phase makes.

    One after each arch_update_freq - 1 weight steps.
    """
    return epochs * len(batch_sizes(images, batch_size)) // (arch_update_freq - 1)


def start(
    warmed: Checkpoint, params: SearchParams, training: TrainingParams, *, images: int, seed: int
) -> SearchState:
    """Begin from the warmed-up weights and logits.

    What was learnt is kept, a little noise breaks ties.

    images: number of training images.
    """
    network, logits = warmed.network, warmed.searched()
    noise = torch.randn(logits.shape, generator=generator(seed, "search", "transition"))
    logits = logits + params.transition_noise * noise
    if params.sharpen:
        logits = sharpen(logits, none=network.blueprint.none, delta=params.sharpen)
    return SearchState(
        network=network,
        optimizer=Sgd.of(network.parameters(), training),
        logits=logits,
        logit_optimizer=Adam(logits.requires_grad_(), arch_learning_rate(params, training, images)),
        temperature=params.temperature,
        micro_batch=training.batch_size,
        anneal_rate=anneal_rate(params, training, images),
        epoch=warmed.fact("epoch"),
        first_epoch=warmed.fact("epoch"),
    )


def snapshot(state: SearchState) -> dict[str, Any]:
    """Return the state as tensors, which stay its own, and as what JSON holds."""
    adam = state.logit_optimizer
    return {
        **supernet.snapshot(state),
        "arch_learning_rate": adam.learning_rate,
        "moments": {"mean": adam.mean, "square": adam.square, "steps": adam.steps},
        "anneal_rate": state.anneal_rate,
        "first_epoch": state.first_epoch,
        "steps": state.steps,
    }


def resumed(saved: dict[str, Any], training: TrainingParams, device: torch.device) -> SearchState:
    """Return the state of a snapshot."""
    fields = supernet.restored(saved, training, device)
    logits = fields["logits"].requires_grad_()
    logit_optimizer = Adam(logits, saved["arch_learning_rate"])
    for name, moment in saved["moments"].items():
        setattr(logit_optimizer, name, moment)
    return SearchState(
        **fields,
        logit_optimizer=logit_optimizer,
        anneal_rate=saved["anneal_rate"],
        first_epoch=saved["first_epoch"],
        steps=saved["steps"],
    )


def arch_learning_rate(params: SearchParams, training: TrainingParams, images: int) -> float:
    """Return the rate of the logits: Adam moves a logit by at most about its rate per step."""
    if params.arch_learning_rate != "auto":
        return params.arch_learning_rate
    steps = architecture_steps(images, training.batch_size, params.epochs, params.arch_update_freq)
    return params.arch_reach / max(steps, 1)


def anneal_rate(params: SearchParams, training: TrainingParams, images: int) -> float:
    """Return the factor on the temperature per architecture step."""
    if params.anneal_rate != "auto":
        return params.anneal_rate
    steps = architecture_steps(images, training.batch_size, params.epochs, params.arch_update_freq)
    return float((params.temperature_end / params.temperature) ** (1 / max(steps, 1)))


def sharpen(logits: Tensor, *, none: int, delta: float) -> Tensor:
    """Add `delta` to the three strongest operations but `none` of edges below 0.4."""
    flat = logits.softmax(-1).amax(-1, keepdim=True) < 0.4
    ranked = logits.clone()
    ranked[..., none] = -torch.inf
    strongest = torch.zeros_like(logits).scatter_(
        -1, ranked.topk(min(3, logits.shape[-1] - 1)).indices, 1.0
    )
    return logits + delta * strongest * flat


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
            stage="search",
            seed=seed,
            slowdown=slowdown,
        )


def drop_at_start(before: float, history: Sequence[Row]) -> float:
    """Return how far validation accuracy fell in the worst of search's first three epochs.

    before: at the end of warmup, a fraction of 1; so is the result, at most 0 if it did not fall.
    """
    return before - min(float(row["validation_accuracy"]) for row in history[:3])


def alternate(
    state: SearchState,
    images: SearchImages,
    *,
    params: SearchParams,
    training: TrainingParams,
    augmentation: AugmentationParams,
    rates: tuple[float, float],
    stage: str,
    seed: int,
    slowdown: float,
) -> Row:
    """Run one epoch over the training images, with an architecture step whenever one is due.

    rates: learning rate of the weights at the start and at the end of the epoch. slowdown: factor
    on these and on the rate of the logits.
    """
    epoch = state.epoch + 1
    batches = partial(
        training_batches, batch_size=training.batch_size, augmentation=augmentation, seed=seed
    )
    held_out = _endless(images, batches, stage, epoch)
    draw = partial(_draw, state, params=params, seed=seed, stage=stage, epoch=epoch)
    tally, seen = Tally(), 0
    for step, (batch, labels) in enumerate(batches(images.training, purpose=(stage, epoch))):
        progress = seen / len(images.training)
        seen += len(labels)
        rate = slowdown * (rates[0] + (rates[1] - rates[0]) * progress)
        weight_step(
            state,
            batch,
            labels,
            edge_weights=draw("path", step),
            learning_rate=rate,
            gradient_clip=training.gradient_clip,
            tally=tally,
        )
        state.steps += 1
        if state.steps % (params.arch_update_freq - 1) == 0:
            source = generator(seed, stage, "architecture", epoch, step)
            architecture_step(
                state,
                *next(held_out),
                params=params,
                gradient_clip=training.gradient_clip,
                source=source,
                slowdown=slowdown,
            )
    state.epoch = epoch
    return describe(state, images, partial(draw, "evaluation"), training, tally)


def architecture_step(
    state: SearchState,
    batch: Tensor,
    labels: Tensor,
    *,
    params: SearchParams,
    gradient_clip: float,
    source: torch.Generator,
    slowdown: float = 1.0,
) -> None:
    """Fit the logits on one batch of validation images, then lower the temperature.

    The weights stay as they are. slowdown: factor on the learning rate.

    Raises:
        TrainingFailedError: the gradient is not finite.
    """
    edge_weights = _relaxed(state, params, source, gradient=batch.device)
    batch, labels, total = share(batch, labels)

    network = state.network

    def gradient(images: Tensor, targets: Tensor) -> Tensor | None:
        with (
            autocast(batch.device),
            untracked_statistics(network),
            constant(network),
            one_batch(),
        ):
            logits = network(images, edge_weights)
            loss = F.cross_entropy(logits, targets) * (len(targets) / total)
        if not loss.requires_grad:
            return None
        (found,) = torch.autograd.grad(loss, state.logits, retain_graph=True, allow_unused=True)
        return found

    def gradients(micro_batch: int) -> list[Tensor]:
        found = [gradient(*part) for part in parts(batch, labels, micro_batch)]
        return [one for one in found if one is not None]

    found, state.micro_batch = within_memory(gradients, state.micro_batch)
    if found:  # else every operation drawn is `none`, or nothing that ran reaches the output
        state.logits.grad = torch.stack(found).sum(0)
        add_up([state.logits.grad])
        norm = torch.nn.utils.clip_grad_norm_(state.logits, gradient_clip)
        if not norm.isfinite():
            raise TrainingFailedError(f"the gradient of the logits is {float(norm)}")
        state.logit_optimizer.step(state.logits.grad, slowdown)
    state.temperature = max(params.temperature_end, state.temperature * state.anneal_rate)


def _draw(
    state: SearchState,
    purpose: str,
    number: int,
    *,
    params: SearchParams,
    seed: int,
    stage: str,
    epoch: int,
) -> EdgeWeights:
    return _relaxed(state, params, generator(seed, stage, purpose, epoch, number), gradient=None)


def _relaxed(
    state: SearchState, params: SearchParams, source: torch.Generator, gradient: torch.device | None
) -> EdgeWeights:
    """Sample edge weights.

    With a device in `gradient`, gates there carry a gradient to the logits.
    """
    temperature = max(params.temperature_floor, state.temperature)
    logits = state.logits if gradient is not None else state.logits.detach()
    if params.sampling == "hard":
        return hard_weights(sample(logits, temperature=temperature, generator=source), gradient)
    rows = relax(logits, temperature=temperature, generator=source)
    return soft_weights(rows, device=gradient or state.network.head.weight.device)


def _endless(
    images: SearchImages, batches: partial[Iterator[tuple[Tensor, Tensor]]], stage: str, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of validation images, shuffled anew each time they are used up."""
    for turn in count():
        yield from batches(images.validation, purpose=(stage, "validation", epoch, turn))
