"""Finalists: at the end of search a few of its architectures are trained, and the best one wins.

A supernet ranks architectures well overall but hardly among the best; training tells these apart.
Candidates are drawn from the logits and compared by the supernet's loss; the best of them are
trained as networks of their own, from the supernet's weights, in rounds after each of which the
better half stays (successive halving; Jamieson & Talwalkar 2016). The supernet gets the winner's
weights, and the winner's operations the largest logits.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch

from pipeline.alternating.alternation import Alternation
from pipeline.alternating.params import SearchParams
from pipeline.alternating.state import SearchState
from pipeline.batches.randomness import generator
from pipeline.console.progress import say
from pipeline.halving.bracket import best, rounds
from pipeline.harness.records import Row
from pipeline.searching import finalists
from pipeline.searching.candidates import prefer
from pipeline.searching.entering import is_enabled, leave_out
from pipeline.searching.finalists import Finalist, FinalsState, enter
from pipeline.space.genotype import Genotype
from pipeline.space.relaxation import EdgeWeights
from pipeline.supernet.evaluation import evaluate_paths
from pipeline.supernet.supernet import ACCURACY, SupernetContext, along
from pipeline.training.context import Epoch
from pipeline.training.evaluation import estimate_statistics, evaluate
from pipeline.training.failing import OperationFailedError
from pipeline.training.loop import run
from pipeline.training.resume import Points, Snapshot
from pipeline.training.stability import Expected
from pipeline.training.steps import Tally, weight_step


@dataclass(frozen=True, slots=True, kw_only=True)
class Finals:
    """The phase (see `Phase`) that chooses one of a search's architectures; a row for each epoch.

    Architectures are decided by the rule of the search space alone.

    searched: the end of search, which does not change but for operations that fail. entrants:
    architectures of the first round. failed: number of each of them that has failed -> what did.
    """

    context: SupernetContext
    params: SearchParams
    searched: SearchState
    entrants: Sequence[Genotype]
    failed: Mapping[int, str] = field(default_factory=dict)

    @property
    def left(self) -> dict[int, Genotype]:
        """The architectures that have not failed, by their numbers."""
        return {
            number: one for number, one in enumerate(self.entrants) if number not in self.failed
        }

    @property
    def epochs(self) -> int:
        """Number of epochs of all networks together."""
        return sum(rounds(len(self.left))) * self.params.finalist_epochs

    @property
    def expected(self) -> Expected:
        """What its epochs are judged against: no accuracy, as the network changes."""
        return Expected(classes=self.context.classes)

    def begin(self) -> FinalsState:
        """Return the networks of the first round, with the supernet's weights."""
        supernet = self.searched.network
        entered = [enter(number, one, supernet, self.context) for number, one in self.left.items()]
        return FinalsState(finalists=entered)

    def train(self, state: FinalsState, slowdown: float, done: Sequence[Row]) -> Iterator[Row]:
        """Train round by round; yield a row after each epoch, when `state` is complete."""
        del done
        context = replace(self.context, slowdown=slowdown)
        sizes, each = rounds(len(self.left)), self.params.finalist_epochs
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of the finals.

    winner: number of the best finalist, None without finalists. rows: one for each epoch of each
    finalist. accuracy: accuracy of the supernet's sampled paths on the held-out images afterwards.
    failed: number of each finalist that failed -> what did.
    """

    winner: int | None
    rows: list[Row]
    accuracy: float
    failed: Mapping[int, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return it as `finalists.json` has it; nothing is said of failures if there are none."""
        failed = [{"finalist": number, "reason": what} for number, what in self.failed.items()]
        found = {"winner": self.winner, "epochs": self.rows}
        return {**found, "failed": failed} if failed else found


def hold(finals: Finals, points: Points, *, before: float) -> Outcome:
    """Let the finalists compete, and give the supernet the winner's weights and architecture.

    If an operation fails, the finalists that run it leave, and those that are left begin anew.

    before: accuracy of the supernet's sampled paths, which stays without finalists.

    Raises:
        TrainingFailedError: no finalist is left, or training failed otherwise.
    """
    if not finals.entrants:
        return Outcome(winner=None, rows=[], accuracy=before)
    while True:
        folder = points.folder / f"without-{len(finals.failed)}" if finals.failed else points.folder
        try:
            state, rows = run(finals, replace(points, folder=folder))
            break
        except OperationFailedError as error:
            finals = _without(finals, error)
    [winner] = state.finalists
    supernet = finals.searched
    supernet.network.load_state_dict(winner.network.state_dict(), strict=False)
    with torch.no_grad():
        preferred = prefer(supernet.logits, winner.genotype, supernet.network.blueprint)
        supernet.logits.copy_(preferred)
    say(f"finalists: number {winner.number} of {len(finals.entrants)} wins")
    accuracy = _sampled_accuracy(finals)
    return Outcome(winner=winner.number, rows=rows, accuracy=accuracy, failed=finals.failed)


def _without(finals: Finals, error: OperationFailedError) -> Finals:
    """Return the finals without the finalists that run an operation that failed.

    Raises:
        OperationFailedError: none is left, or the supernet cannot do without the operation.
    """
    supernet, reason = finals.searched, str(error.failure)
    leave_out(error.failure, supernet, finals.context)
    out = [number for number, one in finals.left.items() if not is_enabled(one, supernet)]
    if not 0 < len(out) < len(finals.left):
        raise error
    for number in out:
        say(f"finalists: number {number} of {len(finals.entrants)} leaves: {reason}")
    return replace(finals, failed={**finals.failed, **dict.fromkeys(out, reason)})


def _sampled_accuracy(finals: Finals) -> float:
    """Return the accuracy of sampled paths on the held-out images, as `describe` measures it."""
    context, state = finals.context, finals.searched
    alternation = Alternation(context=context, params=finals.params)

    def path(number: int) -> EdgeWeights:
        return alternation.draw(state, 0.0, generator(context.seed, "evaluation", "path", number))

    return evaluate_paths(state.network, context.validation, path, context.training)[1]
