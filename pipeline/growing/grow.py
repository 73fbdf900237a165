"""Growth: search on; when accuracy stands still, grow; when that hurt, go back.

A growth is a transaction: the grown network is built aside, must give the same outputs (checked on
real images in double precision, so that rounding cannot hide a mistake or fake one), and is kept
only if it has not lost accuracy after `settle` epochs; if it loses what was learnt, no such epoch
is waited for. Otherwise the state from before it comes back and that kind is not tried again at
that size; nor is one for which there is too little memory.
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import asdict

import torch
from torch import Tensor

from pipeline.batches.batches import evaluation_batches
from pipeline.batches.randomness import generator
from pipeline.devices.memory import release, within_memory
from pipeline.growing.blueprints import position
from pipeline.growing.morph import grow, grow_logits, grow_momentum
from pipeline.growing.params import GrowthParams, Kind
from pipeline.growing.policy import Size, choose, hurts, size, stagnates
from pipeline.growing.state import Event, GrowthState, Recipe, Trial
from pipeline.harness import ranks
from pipeline.harness.errors import is_lack_of_memory
from pipeline.harness.records import Row
from pipeline.searching.search import alternate
from pipeline.searching.state import SearchState
from pipeline.space.blueprint import Blueprint
from pipeline.space.network import Network
from pipeline.space.relaxation import (
    EdgeWeights,
    decide,
    explore,
    genotype_weights,
    initial_logits,
    skip_only,
)
from pipeline.supernet.supernet import SearchImages
from pipeline.training.stability import degraded
from pipeline.training.steps import cosine

LARGEST_DIFFERENCE = 1e-5
"""Of logits before and after a growth, in evaluation mode."""
KEPT_ACCURACY = "kept_accuracy"
"""Column: validation accuracy of the network that goes on, the one before a growth rolled back."""


def epochs(
    state: GrowthState, images: SearchImages, recipe: Recipe, seed: int, slowdown: float = 1.0
) -> Iterator[Row]:
    """Search on and grow; yield a row after each epoch, when `state` is the whole state.

    slowdown: factor on the learning rates.
    """
    params = recipe.growth
    for done in range(state.search.epoch - state.search.first_epoch, params.epochs):
        rates = (
            cosine(params.learning_rate, params.learning_rate_end, done / params.epochs),
            cosine(params.learning_rate, params.learning_rate_end, (done + 1) / params.epochs),
        )
        row = alternate(
            state.search,
            images,
            params=recipe.search,
            training=recipe.training,
            augmentation=recipe.augmentation,
            rates=rates,
            left=0.0,
            stage="growth",
            seed=seed,
            slowdown=slowdown,
        )
        state.accuracies.append(float(row["validation_accuracy"]))
        event = _settle(state, params, len(images.validation))
        kept = state.accuracies[-1]
        left = params.epochs - done - 1
        if state.trial is None and left >= params.settle:
            event = "; ".join(filter(None, (event, _try_to_grow(state, images, recipe, seed))))
        yield {**row, KEPT_ACCURACY: kept, "event": event}


def _settle(state: GrowthState, params: GrowthParams, images: int) -> str:
    """Accept or roll back a growth whose time has come; return what happened, or ''.

    images: that accuracy is measured on.
    """
    trial = state.trial
    if trial is None:
        return ""
    classes = state.search.network.blueprint.classes
    lost = degraded([*trial.accuracies, *state.accuracies], classes=classes, images=images)
    if len(state.accuracies) < params.settle and not lost:
        return ""
    event = trial.event
    before = trial.accuracies[-params.settle :]
    event.accuracy_before = sum(before) / len(before)
    event.accuracy_after = sum(state.accuracies) / len(state.accuracies)
    state.trial = None
    if lost or hurts(before, state.accuracies, tolerance=params.tolerance):
        event.verdict = "rolled back"
        tried = Size(cells=event.cells_before, channels=event.channels_before)
        state.refused |= {(event.kind, tried)}
        trial.state.epoch = state.search.epoch
        state.search, state.accuracies = trial.state, trial.accuracies
    else:
        event.verdict = "accepted"
        state.last = event.kind
    return f"{event.kind} {event.verdict}"


def _try_to_grow(state: GrowthState, images: SearchImages, recipe: Recipe, seed: int) -> str:
    """Grow if accuracy stands still and the budget allows; return what happened, or ''."""
    params = recipe.growth
    if not stagnates(
        state.accuracies, patience=params.patience, min_improvement=params.min_improvement
    ):
        return ""
    old = state.search
    blueprint = old.network.blueprint
    genotype = decide(old.logits, blueprint)
    height, width = images.training.pixels.shape[2:]
    choice = choose(
        blueprint, genotype, (height, width), params, last=state.last, refused=state.refused
    )
    if choice is None:
        return ""
    kind, target = choice
    source = generator(seed, "growth", "weights", old.epoch)
    attempt = _attempt(old, target, kind, images=images, recipe=recipe, source=source)
    if attempt is None:
        release()
    event = Event(
        epoch=old.epoch,
        kind=kind,
        **{f"{name}_before": value for name, value in asdict(size(blueprint)).items()},
        **asdict(size(target)),
        parameters_before=_parameters(blueprint),
        parameters=_parameters(target),
        max_difference=None if attempt is None else attempt[1],
    )
    state.events.append(event)
    if attempt is None or attempt[1] > LARGEST_DIFFERENCE:
        event.verdict = "refused"
        state.refused |= {(kind, size(blueprint))}
        reason = f"logits differ by {attempt[1]:.1e}" if attempt else "too little memory"
        return f"{kind} refused: {reason}"
    state.trial = Trial(event=event, state=old, accuracies=state.accuracies)
    state.search, state.accuracies = attempt[0], []
    return f"{kind}: {size(target).cells} cells, {size(target).channels} channels"


def _attempt(
    old: SearchState,
    target: Blueprint,
    kind: Kind,
    *,
    images: SearchImages,
    recipe: Recipe,
    source: torch.Generator,
) -> tuple[SearchState, float] | None:
    """Return the grown state and how far its outputs differ, or None where memory lacks."""
    count = min(256, recipe.training.evaluation_batch_size)
    batch, _ = next(evaluation_batches(images.validation, count))
    try:
        grown = _grown(old, target, kind, recipe, source)
        difference, _ = within_memory(
            lambda count: max_difference(old.network, grown.network, batch[:count], old.logits),
            len(batch),
        )
    except (MemoryError, RuntimeError) as error:
        # Of several processes the others would go on with a larger network.
        if ranks.count() > 1 or not is_lack_of_memory(error):
            raise
        return None
    return grown, difference


def _grown(
    old: SearchState, target: Blueprint, kind: Kind, recipe: Recipe, source: torch.Generator
) -> SearchState:
    added = position(old.network.blueprint) if kind == "deepen" else None
    network = grow(old.network, target, added=added, generator=source)
    params = recipe.network
    fresh = initial_logits(
        target,
        none=params.initial_none,
        skip=params.initial_skip,
        noise=params.initial_noise,
        generator=source,
    )
    logits, logit_optimizer = grow_logits(old.logits, old.logit_optimizer, fresh)
    return SearchState(
        network=network,
        optimizer=grow_momentum(old.optimizer, old.network, network, recipe.training, added=added),
        logits=logits,
        logit_optimizer=logit_optimizer,
        temperature=old.temperature,
        micro_batch=old.micro_batch,
        anneal_rate=old.anneal_rate,
        epoch=old.epoch,
        first_epoch=old.first_epoch,
        steps=old.steps,
    )


@torch.no_grad()
def max_difference(before: Network, after: Network, images: Tensor, logits: Tensor) -> float:
    """Return the largest difference of logits in evaluation mode, over several paths.

    images: (N, C, H, W). logits: (A, E, O) of the smaller network, whose most likely genotype is
    one of the paths.
    """
    old, new = deepcopy(before).double().eval(), deepcopy(after).double().eval()
    small, large = before.blueprint, after.blueprint
    genotype = decide(logits, small)
    paths = [(skip_only(small), skip_only(large)), _both(genotype_weights(genotype, small), large)]
    for number in range(3):
        source = generator(0, "growth", "difference", number)
        paths.append(_both(explore(small, probability=1.0, generator=source), large))
    images = images.double()
    differences = [(old(images, one) - new(images, other)).abs().max() for one, other in paths]
    largest = torch.finfo(torch.float32).max  # for what is no number: JSON has neither NaN nor inf
    return float(torch.stack(differences).max().nan_to_num(nan=largest, posinf=largest))


def _both(weights: EdgeWeights, blueprint: Blueprint) -> tuple[EdgeWeights, EdgeWeights]:
    """Pair edge weights with those of a grown blueprint, whose new architecture, if any, skips."""
    missing = blueprint.architectures - len(weights.active)
    extra = skip_only(blueprint).active[:1] * missing
    return weights, EdgeWeights(active=weights.active + extra)


def _parameters(blueprint: Blueprint) -> int:
    """Return the parameters of a supernet, without building it."""
    with torch.device("meta"):
        network = Network(blueprint)
    return sum(parameter.numel() for parameter in network.parameters())
