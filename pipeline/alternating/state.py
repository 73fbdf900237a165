"""The state of a search: a supernet whose logits learn too, and their learning rate."""

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from pipeline.alternating.agreement import Agreement, begin, stop
from pipeline.alternating.params import SearchParams
from pipeline.batches.batches import batch_sizes
from pipeline.batches.randomness import generator
from pipeline.deciding.decision import undecided
from pipeline.space.checkpoint import Checkpoint
from pipeline.supernet import supernet
from pipeline.supernet.supernet import Supernet, SupernetContext
from pipeline.training.optimizers import Adam, Sgd
from pipeline.training.params import TrainingParams


@dataclass(slots=True, kw_only=True)
class SearchState(Supernet):
    """A supernet whose logits learn too.

    logit_optimizer: Adam over the logits. anneal_rate: factor on the temperature per architecture
    step. first_epoch: epochs done before the phase. steps: weight steps since then, which decide
    when an architecture step is due. agreement: agreement of gradients, or None if no operation may
    stop early. seen: (A, E, O) weights of the operations after each epoch of the phase.
    """

    logit_optimizer: Adam
    anneal_rate: float
    first_epoch: int
    steps: int = 0
    agreement: Agreement | None = None
    seen: list[Tensor] = field(default_factory=list)


def architecture_steps(images: int, batch_size: int, epochs: int, arch_update_freq: int) -> int:
    """Return how many architecture steps a phase makes.

    There is one after every arch_update_freq - 1 weight steps.
    """
    return epochs * len(batch_sizes(images, batch_size)) // (arch_update_freq - 1)


def start(warmed: Checkpoint, context: SupernetContext, params: SearchParams) -> SearchState:
    """Return the first state of search: the warmed-up weights and logits.

    A little noise on the logits breaks ties.
    """
    network, logits = warmed.network, warmed.searched()
    noise = torch.randn(logits.shape, generator=generator(context.seed, "search", "transition"))
    logits = logits + params.transition_noise * noise
    if params.sharpen:
        logits = sharpen(logits, none=network.blueprint.none, delta=params.sharpen)
    state = continued(warmed, logits, context, params, temperature=params.temperature)
    if params.stop_operations is not None:
        state.agreement = begin(network)
    return state


def continued(
    checkpoint: Checkpoint,
    logits: Tensor,
    context: SupernetContext,
    params: SearchParams,
    *,
    temperature: float,
) -> SearchState:
    """Return a state with a checkpoint's weights, these logits and new optimisers."""
    network, images = checkpoint.network, len(context.images)
    rate = arch_learning_rate(params, context.training, images)
    return SearchState(
        network=network,
        optimizer=Sgd.of(network.parameters(), context.training),
        logits=logits,
        logit_optimizer=Adam(logits.requires_grad_(), rate),
        temperature=temperature,
        micro_batch=context.training.batch_size,
        anneal_rate=anneal_rate(params, context.training, images),
        epoch=checkpoint.fact("epoch"),
        first_epoch=checkpoint.fact("epoch"),
    )


def snapshot(state: SearchState) -> dict[str, Any]:
    """Return the state as JSON values and tensors, which are not copied."""
    adam = state.logit_optimizer
    return {
        **supernet.snapshot(state),
        "arch_learning_rate": adam.learning_rate,
        "moments": {"mean": adam.mean, "square": adam.square, "steps": adam.steps},
        "anneal_rate": state.anneal_rate,
        "first_epoch": state.first_epoch,
        "steps": state.steps,
        "agreement": state.agreement and asdict(state.agreement),
        "seen": state.seen,
    }


def resumed(saved: dict[str, Any], context: SupernetContext) -> SearchState:
    """Return the state of a snapshot."""
    fields = supernet.restored(saved, context.training, context.images.device)
    logits = fields["logits"].requires_grad_()
    logit_optimizer = Adam(logits, saved["arch_learning_rate"])
    logit_optimizer.load(saved["moments"])
    agreement = None if saved["agreement"] is None else Agreement(**saved["agreement"])
    if agreement:
        stop(fields["network"], agreement.stopped)
    return SearchState(
        **fields,
        logit_optimizer=logit_optimizer,
        anneal_rate=saved["anneal_rate"],
        first_epoch=saved["first_epoch"],
        steps=saved["steps"],
        agreement=agreement,
        seen=saved["seen"],
    )


def arch_learning_rate(params: SearchParams, training: TrainingParams, images: int) -> float:
    """Return the learning rate of the logits; Adam moves a logit by at most about it per step."""
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


def sharpen(logits: Tensor, *, none: int | None, delta: float) -> Tensor:
    """Add `delta` to the three strongest operations, except `none`, of each undecided edge."""
    flat = undecided(logits)[..., None]
    ranked = logits.clone()
    if none is not None:
        ranked[..., none] = -torch.inf
    strongest = torch.zeros_like(logits).scatter_(
        -1, ranked.topk(min(3, logits.shape[-1] - 1)).indices, 1.0
    )
    return logits + delta * strongest * flat
