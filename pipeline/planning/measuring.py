"""Seconds of an epoch of each phase on this machine, from a few real steps and evaluations.

Growth is not run: it makes the steps of search, and is counted at the size of search's network. Nor
are finalists: an epoch of each of them counts as one of warmup, which also runs one path.
Optimize is measured at the largest size that growth allows, with the likeliest genotype of fresh
logits, because nobody knows yet what search will find.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

from torch import Generator

from pipeline.batches.batches import batch_sizes
from pipeline.batches.randomness import generator
from pipeline.deciding.decision import decide
from pipeline.growing.params import GrowthParams
from pipeline.growing.policy import Size, choose, extend, size
from pipeline.halving.bracket import rounds
from pipeline.optimizing.optimize import Optimize, Watch
from pipeline.optimizing.state import N
from pipeline.params import Params
from pipeline.planning.timed import EPOCHS, Sample, TimedContext, time_phase
from pipeline.referencing.params import ALL_PASSES, TRAINED, KindName
from pipeline.referencing.resnet import ResNet, build_resnet, width_of_size
from pipeline.referencing.side_by_side import at_once, threads_of_each
from pipeline.referencing.trained import parameters
from pipeline.searching.search import Search
from pipeline.space.blueprint import Blueprint
from pipeline.space.checkpoint import Checkpoint, write_checkpoint
from pipeline.space.genotype import Genotype
from pipeline.space.network import Network, build
from pipeline.supernet.supernet import SupernetContext
from pipeline.targeting.budget import Budget, read_budget
from pipeline.training.stability import Expected
from pipeline.warming.warm import Warmup, exploration

TIMED_ARCH_UPDATE_FREQ = 3
"""Value of `search.arch_update_freq` with which an architecture step follows every second step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Seconds of one epoch by phase; an epoch of the finalists is one of each in each round.

    size: size of the network that optimize was measured with. references: seconds of an epoch of
    each reference that is a network, for as many passes as optimize or as all phases.
    """

    seconds: Mapping[str, float]
    size: Size
    references: Mapping[KindName, float] = field(default_factory=dict)


def measure(
    context: SupernetContext,
    params: Params,
    folder: Path,
    *,
    sample: Sample,
    references: Sequence[KindName] = (),
) -> Measured:
    """Measure an epoch of each phase, and of these references.

    folder: place for the checkpoint that search starts from.
    """
    supernet = _warmup(context, params).begin()
    blueprint = supernet.network.blueprint
    budget = read_budget(params.target, context.image_size, params.network)
    budget.fit(supernet.logits, blueprint)
    genotype = decide(supernet.logits, blueprint, params.network)
    write_checkpoint(
        folder / "checkpoint.safetensors",
        Checkpoint.of(supernet.network, logits=supernet.logits, facts={"epoch": 0}),
    )
    del supernet  # frees its memory
    largest = largest_blueprint(blueprint, genotype, budget, params.growth)
    warmup = _seconds_of_warmup(context, params, sample)
    search = _seconds_of_search(context, params, budget, folder / "checkpoint.safetensors", sample)
    weights, device = generator(params.seed, "plan", "weights"), context.images.device
    found = build(largest, extend(genotype, largest), generator=weights, device=device)
    optimize = _seconds_of_optimize(context, params, found, sample)
    trained = [kind for kind in references if kind in TRAINED]
    each: dict[str, float] = {}
    with threads_of_each(at_once(references, device)):
        for network in dict.fromkeys(kind.removesuffix(ALL_PASSES) for kind in trained):
            like = _resnet_like(found, context, weights) if network == "resnet" else found
            each[network] = _seconds_of_optimize(context, params, like, sample)
    seconds = {"warmup": warmup, "search": search, "growth": search, "optimize": optimize}
    if networks := sum(rounds(params.search.finalists)):
        seconds["finalists"] = networks * warmup
    by_kind = {kind: each[kind.removesuffix(ALL_PASSES)] for kind in trained}
    return Measured(seconds=seconds, size=size(largest), references=by_kind)


def largest_blueprint(
    blueprint: Blueprint, genotype: Genotype, budget: Budget, params: GrowthParams
) -> Blueprint:
    """Return the blueprint after all growths that the budget allows, none of them rolled back."""
    last = None
    while choice := choose(blueprint, genotype, budget, params, last=last, refused=frozenset()):
        last, blueprint = choice
    return blueprint


def _warmup(context: SupernetContext, params: Params) -> Warmup:
    """Return warmup with the mean exploration of its epochs in each: skip-only ones cost less."""
    section = params.warmup
    explored = mean(exploration(section, epoch) for epoch in range(1, section.epochs + 1))
    changes = {"epochs": EPOCHS, "skip_epochs": 0, "ramp_epochs": 1, "explore": explored}
    return Warmup(
        context=context, network=params.network, params=section.model_copy(update=changes)
    )


def _seconds_of_warmup(context: SupernetContext, params: Params, sample: Sample) -> float:
    timing = time_phase(lambda short: _warmup(short, params), context, sample)
    return _steps(context) * sample.typical(timing.steps) + timing.evaluation


def _seconds_of_search(
    context: SupernetContext, params: Params, budget: Budget, checkpoint: Path, sample: Sample
) -> float:
    changes = {
        "epochs": EPOCHS,
        "arch_update_freq": TIMED_ARCH_UPDATE_FREQ,
        "stop_skips": None,  # else fresh logits may end the architecture steps
    }
    section = params.search.model_copy(update=changes)

    def phase(short: TimedContext) -> Search:
        expected = Expected(classes=context.classes)  # nothing is judged here
        return Search(
            context=short,
            params=section,
            checkpoint=checkpoint,
            budget=budget,
            expected=expected,
        )

    timing = time_phase(phase, context, sample)
    with_architecture, alone = (
        [
            seconds
            for number, seconds in enumerate(timing.steps, timing.uncounted + 1)
            if (number % (TIMED_ARCH_UPDATE_FREQ - 1) == 0) == architecture
        ]
        for architecture in (True, False)
    )
    share = 1 / (params.search.arch_update_freq - 1)
    step = share * sample.typical(with_architecture) + (1 - share) * sample.typical(alone)
    return _steps(context) * step + timing.evaluation


def _resnet_like(found: Network, context: SupernetContext, weights: Generator) -> ResNet:
    """Return the ResNet that `found` would be compared with."""
    stem, count = found.blueprint.stem_factor, parameters(found)
    channels, classes, device = context.channels, context.classes, context.images.device
    width = width_of_size(count, image_channels=channels, classes=classes, stem=stem)
    return build_resnet(channels, width, classes, stem=stem, generator=weights, device=device)


def _seconds_of_optimize(
    context: SupernetContext, params: Params, network: N, sample: Sample
) -> float:
    section = params.optimize.model_copy(update={"epochs": EPOCHS})
    held_out = not section.use_validation

    def phase(short: TimedContext) -> Optimize[N]:
        batch_size = params.training.evaluation_batch_size
        watch = Watch(images=short.validation, batch_size=batch_size) if held_out else None
        return Optimize(context=short, params=section, fresh=lambda: (network, 0), watch=watch)

    timing = time_phase(phase, context, sample)
    more = 0 if held_out else len(context.validation)
    return _steps(context, more) * sample.typical(timing.steps) + timing.evaluation


def _steps(context: SupernetContext, more: int = 0) -> int:
    """Return the number of weight steps of an epoch. more: images beside the training images."""
    return len(batch_sizes(len(context.images) + more, context.training.batch_size))
