"""Growth: search continues; the network grows when accuracy stagnates; a harmful growth is undone.

The grown network is built beside the old one and must give the same outputs (checked on real images
in double precision, so that rounding can neither hide nor fake an error). It is kept only if it has
not lost accuracy after `settle` epochs; if it loses what was learnt, it is rolled back at once.
After a rollback the old state returns, and that kind is not tried again at that size. Nor is a kind
that runs out of memory.

A mutation is a growth without growth: the logits of some edges begin anew. Sampled paths are then
worse for a while, so it is judged by the most likely network.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Generator, Tensor

from pipeline.alternating.alternation import Alternation
from pipeline.alternating.params import SearchParams
from pipeline.alternating.state import SearchState
from pipeline.batches.batches import evaluation_batches
from pipeline.batches.randomness import generator
from pipeline.deciding.decision import decide
from pipeline.devices.memory import release, within_memory
from pipeline.events.event import Event, Kind
from pipeline.growing import state as states
from pipeline.growing.blueprints import position
from pipeline.growing.difference import max_difference
from pipeline.growing.morph import grow, grow_logits, grow_momentum, mutate
from pipeline.growing.params import GrowthParams
from pipeline.growing.policy import choose, hurts, size, stagnates
from pipeline.growing.state import GrowthState, Trial
from pipeline.harness import ranks
from pipeline.harness.errors import ParamsError
from pipeline.harness.lacks import is_lack_of_memory
from pipeline.harness.records import Row
from pipeline.space.blueprint import Blueprint
from pipeline.space.checkpoint import read_checkpoint
from pipeline.space.network import Network
from pipeline.space.params import NetworkParams
from pipeline.space.relaxation import initial_logits
from pipeline.supernet.supernet import SupernetContext, choices
from pipeline.targeting.budget import Budget
from pipeline.training.context import Epoch, losses_of
from pipeline.training.failing import Choices
from pipeline.training.resume import Snapshot
from pipeline.training.stability import Expected, degraded

LARGEST_DIFFERENCE = 1e-5
"""Largest accepted difference of logits before and after a growth, in evaluation mode."""
KEPT_ACCURACY = "kept_accuracy"
"""Column with the validation accuracy of the kept network: after a rollback, the old one."""
CALMER, WILDER = 0.5, 1.05
"""Factors on the probability of exploring, after an epoch that improved and after another."""
CLOSED = 0.1
"""Part of the highest probability of exploring below which a plateau reopens the search."""
COMPARED_IMAGES = 256
"""Largest number of validation images on which outputs before and after a growth are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """The phase (see `Phase`): from the searched supernet of a checkpoint to a grown one."""

    context: SupernetContext
    network: NetworkParams
    search: SearchParams
    params: GrowthParams
    checkpoint: Path
    budget: Budget
    expected: Expected

    @property
    def epochs(self) -> int:
        """Number of epochs that it runs."""
        return self.params.epochs

    def begin(self) -> GrowthState:
        """Return the searched weights and logits, with new optimisers."""
        searched = read_checkpoint(self.checkpoint, self.context.images.device)
        state = states.start(searched, self.context, self.search)
        self.budget.fit(state.search.logits, state.search.network.blueprint)
        return state

    def train(self, state: GrowthState, slowdown: float, done: Sequence[Row]) -> Iterator[Row]:
        """Search and grow; yield a row after each epoch, when `state` is complete."""
        context = replace(self.context, slowdown=slowdown)
        alternation = Alternation(context=context, params=self.search, budget=self.budget)
        for number in range(state.search.epoch - state.search.first_epoch, self.params.epochs):
            epoch = Epoch(
                phase="growth",
                number=state.search.epoch + 1,
                done=number,
                epochs=self.params.epochs,
                schedule=self.params,
                losses=losses_of(done),
            )
            row = alternation.run(state.search, epoch, left=0.0, exploring=state.exploring)
            state.accuracies.append(float(row["validation_accuracy"]))
            state.genotypes.append(float(row["genotype_accuracy"]))
            left = self.params.epochs - number - 1
            state.exploring = self._calmer(state, left)
            event = self._settle(state, left)
            kept = state.accuracies[-1]
            if state.trial and state.trial.event.kind == "mutate":
                kept = state.trial.accuracies[-1]
            if state.trial is None and left >= self.params.settle:
                event = "; ".join(filter(None, (event, self._try_to_grow(state, left))))
            yield {**row, KEPT_ACCURACY: kept, "event": event}

    def choices(self, state: GrowthState) -> Choices:
        """Return what is still to be chosen, also if a growth that has not settled is undone."""
        found = choices(state.search, self.context)
        before = [state.trial.state.logits] if state.trial else []
        return replace(found, logits=[*found.logits, *before])

    def snapshot(self, state: GrowthState) -> Snapshot:
        """Return the state as JSON values and tensors, which are not copied."""
        return states.snapshot(state)

    def resumed(self, saved: Snapshot) -> GrowthState:
        """Return the state of a snapshot."""
        return states.resumed(saved, self.context)

    def _settle(self, state: GrowthState, left: int) -> str:
        """Accept or roll back a growth that has settled; return what happened, or ''.

        left: number of epochs that are left.
        """
        trial, params = state.trial, self.params
        if trial is None:
            return ""
        lost = degraded(
            [*trial.accuracies, *state.accuracies],
            classes=self.context.classes,
            images=len(self.context.validation),
        )
        event, mutated = trial.event, trial.event.kind == "mutate"
        if len(state.accuracies) < params.settle and (mutated or not lost):
            return ""
        earlier, after = (
            (trial.genotypes, state.genotypes) if mutated else (trial.accuracies, state.accuracies)
        )
        before = earlier[-params.settle :]
        event.accuracy_before = sum(before) / len(before)
        event.accuracy_after = sum(after) / len(after)
        if lost or hurts(before, after, tolerance=params.tolerance):
            event.verdict = "rolled back"
            state.roll_back(trial)
            return f"{event.kind} rolled back"
        event.verdict = "accepted"
        state.trial, state.last = None, event.kind
        return "; ".join(filter(None, (f"{event.kind} accepted", self._reopen(state, left))))

    def _reopen(self, state: GrowthState, left: int) -> str:
        """Let the search explore again, if asked for and in time; return what happened, or ''."""
        if not self.params.explore or left <= self.params.settle:
            return ""
        state.exploring = self.params.explore
        with torch.no_grad():
            state.search.logits *= 1 - self.params.explore
        self.budget.fit(state.search.logits, state.search.network.blueprint)
        return "search reopened"

    def _calmer(self, state: GrowthState, left: int) -> float:
        """Return the next epoch's probability of exploring. left: number of epochs that are left.

        Adaptive: an epoch that improves calls for less of it, another for a little more.
        """
        if left <= self.params.settle:
            return 0.0
        *earlier, newest = state.accuracies
        factor = CALMER if newest > max(earlier, default=0.0) else WILDER
        return min(self.params.explore, factor * state.exploring)

    def _try_to_grow(self, state: GrowthState, left: int) -> str:
        """Grow if accuracy stagnates and the budget allows it; return what happened, or ''.

        left: number of epochs that are left.
        """
        params, old = self.params, state.search
        if not stagnates(
            state.accuracies, patience=params.patience, min_improvement=params.min_improvement
        ):
            return ""
        blueprint = old.network.blueprint
        genotype = decide(old.logits, blueprint, self.network)
        choice = choose(
            blueprint, genotype, self.budget, params, last=state.last, refused=state.refused
        )
        if choice is None:
            waits = state.exploring > CLOSED * self.params.explore
            return "" if waits else self._reopen(state, left)
        kind, target = choice
        attempt = self._attempt(old, target, kind)
        if isinstance(attempt, str):
            release()
        edges = int(self._mutated(old.logits, old.epoch).sum()) if kind == "mutate" else 0
        event = _event(old.epoch, kind, blueprint, target, mutated=edges)
        event.max_difference = None if isinstance(attempt, str) else attempt[1]
        state.events.append(event)
        if isinstance(attempt, str) or attempt[1] > LARGEST_DIFFERENCE:
            event.verdict = "refused"
            state.refused |= {(kind, size(blueprint))}
            reason = attempt if isinstance(attempt, str) else f"logits differ by {attempt[1]:.1e}"
            return f"{kind} refused: {reason}"
        state.trial = Trial(
            event=event,
            state=replace(old, seen=[]),  # these go on, whatever comes of it
            accuracies=state.accuracies,
            genotypes=state.genotypes,
        )
        state.search, state.accuracies, state.genotypes = attempt[0], [], []
        return f"{kind}: {event.what}"

    def _attempt(
        self, old: SearchState, target: Blueprint, kind: Kind
    ) -> tuple[SearchState, float] | str:
        """Return the grown state and how far its outputs differ, or why there is none."""
        count = min(COMPARED_IMAGES, self.context.training.evaluation_batch_size)
        batch, _ = next(evaluation_batches(self.context.validation, count))
        source = generator(self.context.seed, "growth", "weights", old.epoch)
        try:
            grown = self._grown(old, target, kind, source)
            difference, _ = within_memory(
                lambda count: max_difference(old.network, grown.network, batch[:count], old.logits),
                len(batch),
            )
        except (MemoryError, RuntimeError) as error:
            # Other processes would continue with a larger network.
            if ranks.count() > 1 or not is_lack_of_memory(error):
                raise
            return "too little memory"
        except ParamsError as error:
            return str(error)
        return grown, difference

    def _mutated(self, logits: Tensor, epoch: int) -> Tensor:
        """Return which edges mutate after an epoch, (A, E), drawn at random."""
        source = generator(self.context.seed, "growth", "mutated edges", epoch)
        edges = logits[..., 0].numel()
        count = max(1, round(self.params.mutation_strength * edges))
        chosen = torch.zeros(edges, dtype=torch.bool)
        chosen[torch.randperm(edges, generator=source)[:count]] = True
        return chosen.view(logits.shape[:2])

    def _grown(
        self, old: SearchState, target: Blueprint, kind: Kind, source: Generator
    ) -> SearchState:
        added = position(old.network.blueprint) if kind == "deepen" else None
        network = grow(old.network, target, added=added, generator=source)
        fresh = initial_logits(
            target,
            none=self.network.initial_none,
            skip=self.network.initial_skip,
            noise=self.network.initial_noise,
            generator=source,
        )
        logits, logit_optimizer = grow_logits(old.logits, old.logit_optimizer, fresh)
        if kind == "mutate":
            mutate(logits, logit_optimizer, fresh, self._mutated(logits, old.epoch))
        self.budget.fit(logits, target)
        training = self.context.training
        return replace(
            old,
            network=network,
            optimizer=grow_momentum(old.optimizer, old.network, network, training, added=added),
            logits=logits,
            logit_optimizer=logit_optimizer,
            agreement=None,
        )


def _event(epoch: int, kind: Kind, before: Blueprint, after: Blueprint, *, mutated: int) -> Event:
    return Event(
        epoch=epoch,
        kind=kind,
        **{f"{name}_before": value for name, value in asdict(size(before)).items()},
        **asdict(size(after)),
        parameters_before=_parameters(before),
        parameters=_parameters(after),
        mutated=mutated,
        max_difference=None,
    )


def _parameters(blueprint: Blueprint) -> int:
    """Return the number of parameters of a supernet, without building it."""
    with torch.device("meta"):
        network = Network(blueprint)
    return sum(parameter.numel() for parameter in network.parameters())
