"""Finalists: at the end of search a few of its architectures are trained, and the best one wins.

A supernet ranks architectures well overall but hardly among the best; training tells these apart.
Candidates are drawn from the logits and compared by the supernet's loss; the best of them are
trained as networks of their own, from the supernet's weights, in rounds after each of which the
better half stays (successive halving; Jamieson & Talwalkar 2016). The supernet gets the winner's
weights, and the winner's operations the largest logits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from pipeline.alternating.alternation import Alternation
from pipeline.alternating.params import SearchParams
from pipeline.alternating.state import SearchState
from pipeline.batches.images import Images
from pipeline.batches.randomness import generator
from pipeline.console.progress import say
from pipeline.halving.bracket import CANDIDATES, COMPARED_IMAGES, best, rounds
from pipeline.harness.records import Row
from pipeline.searching import finalists
from pipeline.searching.candidates import draw_candidates, of_operations, prefer
from pipeline.searching.equivalence import normal_form
from pipeline.searching.finalists import Finalist, FinalsState, enter
from pipeline.space.blueprint import Blueprint
from pipeline.space.genotype import Genotype
from pipeline.space.network import Network
from pipeline.space.relaxation import EdgeWeights, genotype_weights, without_disabled
from pipeline.supernet.evaluation import evaluate_paths
from pipeline.supernet.supernet import ACCURACY, SupernetContext, along
from pipeline.targeting.budget import Budget
from pipeline.training.context import Epoch
from pipeline.training.evaluation import estimate_statistics, evaluate
from pipeline.training.loop import run
from pipeline.training.resume import Points, Snapshot
from pipeline.training.stability import Expected
from pipeline.training.steps import Tally, weight_step


@dataclass(frozen=True, slots=True, kw_only=True)
class Finals:
    """The phase (see `Phase`) that chooses one of a search's architectures; a row for each epoch.

    Architectures are decided by the rule of the search space alone.

    searched: the end of search, which does not change. entrants: architectures of the first round.
    """

    context: SupernetContext
    params: SearchParams
    searched: SearchState
    entrants: Sequence[Genotype]

    @property
    def epochs(self) -> int:
        """Number of epochs of all networks together."""
        return sum(rounds(len(self.entrants))) * self.params.finalist_epochs

    @property
    def expected(self) -> Expected:
        """What its epochs are judged against: no accuracy, as the network changes."""
        return Expected(classes=self.context.classes)

    def begin(self) -> FinalsState:
        """Return the networks of the first round, with the supernet's weights."""
        supernet = self.searched.network
        entered = [
            enter(number, one, supernet, self.context) for number, one in enumerate(self.entrants)
        ]
        return FinalsState(finalists=entered)

    def train(self, state: FinalsState, slowdown: float, done: Sequence[Row]) -> Iterator[Row]:
        """Train round by round; yield a row after each epoch, when `state` is complete."""
        del done
        context = replace(self.context, slowdown=slowdown)
        sizes, each = rounds(len(self.entrants)), self.params.finalist_epochs
        order = [
            (turn, epoch, place)
            for turn, size in enumerate(sizes)
            for epoch in range(each)
            for place in range(size)
        ]
        for turn, epoch, place in order[state.epoch :]:
            one = state.finalists[place]
            row = train_epoch(context, self.params, one, number=turn * each + epoch, done=epoch)
            state.epoch += 1
            if (epoch, place) == (each - 1, sizes[turn] - 1):
                self._halve(state)
            yield {"epoch": state.epoch, "round": turn + 1, **row}

    def choices(self, state: FinalsState) -> None:
        """Return nothing: the architecture of each network is fixed."""

    def snapshot(self, state: FinalsState) -> Snapshot:
        """Return the state as JSON values and tensors, which are not copied."""
        return finalists.snapshot(state)

    def resumed(self, saved: Snapshot) -> FinalsState:
        """Return the state of a snapshot."""
        return finalists.resumed(saved, self.searched.network, self.context)

    def _halve(self, state: FinalsState) -> None:
        """Keep the better half; ties go to the smaller network."""
        by_number = {one.number: one for one in state.finalists}
        results = [one.result for one in state.finalists]
        count = (len(results) + 1) // 2
        kept = best(results, count, images=len(self.context.validation))
        state.finalists = [by_number[one.number] for one in kept]


def train_epoch(
    context: SupernetContext, params: SearchParams, one: Finalist, *, number: int, done: int
) -> Row:
    """Train and evaluate one finalist. number: its earlier epochs. done: those of the round."""
    epoch = Epoch(
        phase="finalists",
        number=number,
        done=done,
        epochs=params.finalist_epochs,
        schedule=params,
        losses=(),
    )
    tally = Tally()
    for step in context.steps(epoch):
        weight_step(one, step, partial(along, one.network, None), tally)
    estimate_statistics(one.network, context.images, context.training)
    size = context.training.evaluation_batch_size
    loss, one.accuracy = evaluate(one.network, context.validation, size)
    return {
        "finalist": one.number,
        **tally.row(),
        "validation_loss": loss,
        ACCURACY: one.accuracy,
        "parameters": one.result.parameters,
    }


def entrants(
    context: SupernetContext, params: SearchParams, state: SearchState, budget: Budget
) -> list[Genotype]:
    """Return the architectures of the first round, the best by the supernet's loss first.

    There are `params.finalists` of them, or fewer if draws from the logits repeat. One is the
    well-known network of the space, if it has one that the budget allows and that runs nothing
    disabled.
    """
    candidates = draw_candidates(
        state.logits,
        state.network.blueprint,
        budget,
        count=CANDIDATES * params.finalists,
        generator=generator(context.seed, "finalists", "candidates"),
    )
    losses = {normal_form(one): _loss(context, state.network, one) for one in candidates}
    ranked = sorted(candidates, key=lambda one: losses[normal_form(one)])
    known = reference(state.network.blueprint)
    if known is None or not params.finalists or not _may_enter(known, state, budget):
        return ranked[: params.finalists]
    others = [one for one in ranked if normal_form(one) != normal_form(known)]
    return [*others[: params.finalists - 1], known]


def _may_enter(genotype: Genotype, state: SearchState, budget: Budget) -> bool:
    """Whether the budget allows an architecture, and it runs nothing that is disabled."""
    path = genotype_weights(genotype, state.network.blueprint)
    runs = without_disabled(path, state.logits) == path
    return runs and budget.allows(state.network.blueprint, genotype)


def _loss(context: SupernetContext, network: Network, genotype: Genotype) -> float:
    """Return the supernet's loss along one architecture, on batch statistics."""
    held_out = _some(context.validation, COMPARED_IMAGES)
    path = genotype_weights(genotype, network.blueprint)
    one_path = context.training.model_copy(update={"sampled_paths": 1})
    loss, _ = evaluate_paths(network, held_out, lambda _: path, one_path)
    return loss


def reference(blueprint: Blueprint) -> Genotype | None:
    """Return the well-known network of a space, if it has one and its operations are candidates."""
    known = blueprint.rules.reference
    kinds = [cell.kind for cell in blueprint.cells]
    return None if known is None else of_operations(known(kinds), blueprint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of the finals.

    winner: number of the best finalist, None without finalists. rows: one for each epoch of each
    finalist. accuracy: accuracy of the supernet's sampled paths on the held-out images afterwards.
    """

    winner: int | None
    rows: list[Row]
    accuracy: float


def hold(finals: Finals, points: Points, *, before: float) -> Outcome:
    """Let the finalists compete, and give the supernet the winner's weights and architecture.

    before: accuracy of the supernet's sampled paths, which stays without finalists.
    """
    if not finals.entrants:
        return Outcome(winner=None, rows=[], accuracy=before)
    state, rows = run(finals, points)
    [winner] = state.finalists
    supernet = finals.searched
    supernet.network.load_state_dict(winner.network.state_dict(), strict=False)
    with torch.no_grad():
        preferred = prefer(supernet.logits, winner.genotype, supernet.network.blueprint)
        supernet.logits.copy_(preferred)
    say(f"finalists: number {winner.number} of {len(finals.entrants)} wins")
    return Outcome(winner=winner.number, rows=rows, accuracy=_sampled_accuracy(finals))


def _sampled_accuracy(finals: Finals) -> float:
    """Return the accuracy of sampled paths on the held-out images, as `describe` measures it."""
    context, state = finals.context, finals.searched
    alternation = Alternation(context=context, params=finals.params)

    def path(number: int) -> EdgeWeights:
        return alternation.draw(state, 0.0, generator(context.seed, "evaluation", "path", number))

    return evaluate_paths(state.network, context.validation, path, context.training)[1]


def _some(images: Images, count: int) -> Images:
    """Return at most `count` images, evenly spaced."""
    every = -(-len(images) // count)
    return images.part(slice(None, None, every))
