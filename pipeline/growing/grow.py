"""Growth: search on; when accuracy stands still, grow; when that hurt, go back.

A growth is a transaction: the grown network is built aside, must give the same outputs (checked on
real images in double precision, so that rounding cannot hide a mistake or fake one), and is kept
only if it has not lost accuracy after `settle` epochs. Otherwise the state from before it comes
back and that kind is not tried again at that size.
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from pipeline.data.batches import evaluation_batches
from pipeline.data.params import AugmentationParams
from pipeline.exchange.checkpoint import Checkpoint
from pipeline.exchange.records import Row
from pipeline.growing.blueprints import position
from pipeline.growing.morph import grow, grow_logits, grow_momentum
from pipeline.growing.params import GrowthParams, Kind
from pipeline.growing.policy import Size, choose, hurts, size, stagnates
from pipeline.randomness import generator
from pipeline.searching import state as searching
from pipeline.searching.params import SearchParams
from pipeline.searching.search import alternate
from pipeline.searching.state import SearchState, anneal_rate, arch_learning_rate
from pipeline.space.blueprint import Blueprint
from pipeline.space.network import Network
from pipeline.space.params import NetworkParams
from pipeline.space.relaxation import (
    EdgeWeights,
    decide,
    explore,
    genotype_weights,
    initial_logits,
    skip_only,
)
from pipeline.training.optimizers import Adam, Sgd
from pipeline.training.params import TrainingParams
from pipeline.training.steps import cosine
from pipeline.training.supernet import SearchImages

LARGEST_DIFFERENCE = 1e-5
"""Of logits before and after a growth, in evaluation mode."""


@dataclass(slots=True, kw_only=True)
class Event:
    """One growth.

    Accuracies are means over `settle` epochs, fractions of 1; max_difference is of logits.
    """

    epoch: int
    kind: Kind
    cells_before: int
    cells: int
    channels_before: int
    channels: int
    parameters_before: int
    parameters: int
    max_difference: float
    verdict: str = "settling"
    accuracy_before: float = 0.0
    accuracy_after: float = 0.0


@dataclass(slots=True, kw_only=True)
class Trial:
    """A growth that has not settled: what to go back to."""

    event: Event
    state: SearchState
    accuracies: list[float]


@dataclass(slots=True, kw_only=True)
class GrowthState:
    """The complete state of the stage.

    accuracies: validation accuracy of each epoch since the network last changed for good. last:
    kind of the newest accepted growth. refused: kinds that were rolled back, with the size they
    were tried at.
    """

    search: SearchState
    accuracies: list[float] = field(default_factory=list)
    last: Kind | None = None
    refused: frozenset[tuple[Kind, Size]] = frozenset()
    trial: Trial | None = None
    events: list[Event] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The params of the stage and of what it goes on with."""

    network: NetworkParams
    training: TrainingParams
    augmentation: AugmentationParams
    search: SearchParams
    growth: GrowthParams


def start(searched: Checkpoint, recipe: Recipe, *, images: int) -> GrowthState:
    """Go on from search: its weights, logits and temperature; the optimisers begin anew.

    images: number of training images, which decides the rate of the logits as in search.
    """
    logits = searched.searched().requires_grad_()
    rate = arch_learning_rate(recipe.search, recipe.training, images)
    return GrowthState(
        search=SearchState(
            network=searched.network,
            optimizer=Sgd.of(searched.network.parameters(), recipe.training),
            logits=logits,
            logit_optimizer=Adam(logits, rate),
            temperature=searched.fact("temperature"),
            micro_batch=recipe.training.batch_size,
            anneal_rate=anneal_rate(recipe.search, recipe.training, images),
            epoch=searched.fact("epoch"),
            first_epoch=searched.fact("epoch"),
        )
    )


def snapshot(state: GrowthState) -> dict[str, Any]:
    """Return the state as tensors, which stay its own, and as what JSON holds."""
    trial = state.trial
    return {
        "search": searching.snapshot(state.search),
        "accuracies": state.accuracies,
        "last": state.last,
        "refused": [[kind, asdict(tried)] for kind, tried in sorted(state.refused, key=str)],
        "trial": trial
        and {"state": searching.snapshot(trial.state), "accuracies": trial.accuracies},
        "events": [asdict(event) for event in state.events],
    }


def resumed(saved: dict[str, Any], training: TrainingParams, device: torch.device) -> GrowthState:
    """Return the state of a snapshot."""
    events = [Event(**event) for event in saved["events"]]
    trial = saved["trial"]
    return GrowthState(
        search=searching.resumed(saved["search"], training, device),
        accuracies=saved["accuracies"],
        last=saved["last"],
        refused=frozenset((kind, Size(**tried)) for kind, tried in saved["refused"]),
        trial=trial
        and Trial(
            event=events[-1],
            state=searching.resumed(trial["state"], training, device),
            accuracies=trial["accuracies"],
        ),
        events=events,
    )


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
            exploration=0.0,
            auxiliary=0.0,
            stage="growth",
            seed=seed,
            slowdown=slowdown,
        )
        state.accuracies.append(float(row["validation_accuracy"]))
        event = _settle(state, params)
        left = params.epochs - done - 1
        if state.trial is None and left >= params.settle:
            event = "; ".join(filter(None, (event, _try_to_grow(state, images, recipe, seed))))
        yield {**row, "event": event}


def _settle(state: GrowthState, params: GrowthParams) -> str:
    """Accept or roll back a growth whose time has come; return what happened, or ''."""
    trial = state.trial
    if trial is None or len(state.accuracies) < params.settle:
        return ""
    event = trial.event
    before = trial.accuracies[-params.settle :]
    event.accuracy_before = sum(before) / len(before)
    event.accuracy_after = sum(state.accuracies) / len(state.accuracies)
    state.trial = None
    if hurts(before, state.accuracies, tolerance=params.tolerance):
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
    grown = _grown(old, target, kind, recipe, generator(seed, "growth", "weights", old.epoch))
    batch = next(
        evaluation_batches(images.validation, min(256, recipe.training.evaluation_batch_size))
    )
    event = Event(
        epoch=old.epoch,
        kind=kind,
        **{f"{name}_before": value for name, value in asdict(size(blueprint)).items()},
        **asdict(size(target)),
        parameters_before=_parameters(old.network),
        parameters=_parameters(grown.network),
        max_difference=max_difference(old.network, grown.network, batch[0], old.logits),
    )
    state.events.append(event)
    if event.max_difference > LARGEST_DIFFERENCE:
        event.verdict = "refused"
        state.refused |= {(kind, size(blueprint))}
        return f"{kind} refused: logits differ by {event.max_difference:.1e}"
    state.trial = Trial(event=event, state=old, accuracies=state.accuracies)
    state.search, state.accuracies = grown, []
    return f"{kind}: {size(target).cells} cells, {size(target).channels} channels"


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


def summarize(events: list[Event]) -> dict[str, float]:
    """Return how many growths had each verdict, and the largest difference of logits."""
    verdicts = [event.verdict for event in events]
    return {
        "growths_accepted": verdicts.count("accepted"),
        "growths_rolled_back": verdicts.count("rolled back"),
        "growths_refused": verdicts.count("refused"),
        "growth_max_difference": max((event.max_difference for event in events), default=0.0),
    }


def _both(weights: EdgeWeights, blueprint: Blueprint) -> tuple[EdgeWeights, EdgeWeights]:
    """Pair edge weights with those of a grown blueprint, whose new architecture, if any, skips."""
    missing = blueprint.architectures - len(weights.active)
    extra = skip_only(blueprint).active[:1] * missing
    return weights, EdgeWeights(active=weights.active + extra)


def _parameters(network: Network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
