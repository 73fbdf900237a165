"""Weight steps on training images and architecture steps on held-out images, in turn.

A weight step runs one sampled path. An architecture step fits only the logits (see `gradients`) and
does not change the weights and their BatchNorm statistics.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import count

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from pipeline.alternating import edges
from pipeline.alternating.agreement import compare
from pipeline.alternating.gradients import estimator
from pipeline.alternating.params import SearchParams
from pipeline.alternating.state import SearchState
from pipeline.batches.randomness import generator
from pipeline.deciding.decision import decide, likely_operations, undecided
from pipeline.devices.device import autocast
from pipeline.devices.memory import parts, within_memory
from pipeline.devices.together import add_up, one_batch, share
from pipeline.harness.errors import TrainingFailedError
from pipeline.harness.records import Row
from pipeline.space.batch_norm import untracked_statistics
from pipeline.space.network import constant
from pipeline.space.relaxation import (
    EdgeWeights,
    explore,
    relax,
    sample,
    soft_weights,
    without_disabled,
)
from pipeline.space.space import SKIP
from pipeline.supernet.records import describe
from pipeline.supernet.supernet import Supernet, SupernetContext, along
from pipeline.targeting.budget import Budget
from pipeline.training.context import Batch, Epoch
from pipeline.training.steps import FORWARD, Tally, weight_step


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternation:
    """The training of search and growth, with what stays the same while it runs.

    budget: what the most likely network may cost, or None.
    """

    context: SupernetContext
    params: SearchParams
    budget: Budget | None = None

    def run(
        self, state: SearchState, epoch: Epoch, *, left: float, exploring: float | None = None
    ) -> Row:
        """Run one epoch over the training images, with an architecture step whenever one is due.

        left: part of search that is left, 0 after it; exploring and the auxiliary skip connections
        fall with it, beta-decay rises. exploring: probability that an edge of a weight step
        explores, if it is not what the params say; evaluations do as they say.
        """
        context, params = self.context, self.params
        held_out = self._held_out(epoch)
        stopped = params.stop_skips is not None and params.stop_skips <= most_skips(state)
        draw = partial(self.draw, state, left, exploring=exploring)
        tally, paths, unseen_images = Tally(), [], 0
        before = state.seen[-1] if state.seen else edges.weights(state.logits)
        for step in context.steps(epoch):
            purpose = (epoch.phase, "path", epoch.number, step.number)
            path = draw(generator(context.seed, *purpose))
            paths.append(path.active)
            weight_step(state, step, partial(along, state.network, path), tally)
            state.steps += 1
            if state.steps % (params.arch_update_freq - 1):
                continue
            unseen = next(held_out)
            self._compare(state, unseen, path)
            if not stopped:
                purpose = (epoch.phase, "architecture", epoch.number, step.number)
                self.architecture_step(state, unseen, generator(context.seed, *purpose), left=left)
                unseen_images += len(unseen[1])
        state.epoch = epoch.number
        row = describe(context, state, partial(self.draw, state, left), tally)
        state.seen = [*state.seen, edges.weights(state.logits)]
        return {
            **row,
            "image_passes": int(row["image_passes"]) + round(self._passes * unseen_images),
            "undecided_edges": int(undecided(state.logits).sum()),
            "genotype_changes": edges.changes(before, state.seen[-1]),
            "path_diversity": edges.diversity(paths, state.logits.shape[-1]),
        }

    def architecture_step(
        self, state: SearchState, batch: Batch, source: Generator, *, left: float = 0.0
    ) -> None:
        """Fit the logits on one batch of held-out images, then lower the temperature.

        The weights do not change. source: random source of the draws. left: see `run`.

        Raises:
            TrainingFailedError: the gradient is not finite.
        """
        images, labels, total = share(*batch)
        network, auxiliary = state.network, self.context.training.auxiliary_skip * left
        estimate = estimator(
            self.params,
            state.logits,
            temperature=self._temperature(state),
            source=source,
            device=images.device,
        )

        def gradient(images: Tensor, targets: Tensor) -> Tensor | None:
            def loss_of(edge_weights: EdgeWeights) -> Tensor:
                logits = network(images, replace(edge_weights, auxiliary=auxiliary))
                return F.cross_entropy(logits, targets) * (len(targets) / total)

            with (
                autocast(images.device),
                untracked_statistics(),
                constant(state.optimizer.parameters),
                one_batch(),
            ):
                return estimate(loss_of)

        def gradients(micro_batch: int) -> list[Tensor]:
            with state.optimizer.halves_of(network).in_place(constant=True):
                found = [gradient(*part) for part in parts(images, labels, micro_batch)]
            return [one for one in found if one is not None]

        found, state.micro_batch = within_memory(gradients, state.micro_batch)
        if found:  # else every operation drawn is `none`, or nothing that ran reaches the output
            beta = self.params.beta_decay * (1 - left)
            self._descend(state, torch.stack(found).sum(0), beta=beta)
            if self.budget:
                self.budget.fit(state.logits, state.network.blueprint)
        state.temperature = max(self.params.temperature_end, state.temperature * state.anneal_rate)

    def draw(
        self, state: SearchState, left: float, source: Generator, *, exploring: float | None = None
    ) -> EdgeWeights:
        """Draw the edge weights of a weight step or an evaluation; an edge may explore instead."""
        logits, temperature = state.logits.detach(), self._temperature(state)
        auxiliary = self.context.training.auxiliary_skip * left
        if self.params.sampling == "soft":
            rows = relax(logits, temperature=temperature, generator=source)
            drawn = soft_weights(rows, device=self.context.images.device)
            return replace(without_disabled(drawn, logits), auxiliary=auxiliary)

        def choices() -> Tensor:
            if self.params.sampling == "likely":
                return likely_operations(logits, state.network.blueprint)
            return sample(logits, temperature=temperature, generator=source).argmax(-1)

        drawn = explore(
            state.network.blueprint,
            probability=self.params.explore * left if exploring is None else exploring,
            generator=source,
            otherwise=choices,
            logits=logits,
        )
        return replace(drawn, auxiliary=auxiliary)

    def _descend(self, state: SearchState, gradient: Tensor, *, beta: float) -> None:
        """Apply the gradient of the logits.

        beta: weight of beta-decay, the mean over all edges of logsumexp(logits) (Ye et al. 2022).
        """
        state.logits.grad = gradient
        add_up([state.logits.grad])
        if beta:
            edges = state.logits[..., 0].numel()
            state.logits.grad += beta / edges * state.logits.detach().softmax(-1)
        clip = self.context.training.gradient_clip
        norm = torch.nn.utils.clip_grad_norm_(state.logits, clip)
        if not norm.isfinite():
            raise TrainingFailedError(f"the gradient of the logits is {float(norm)}")
        state.logit_optimizer.step(state.logits.grad, self.context.slowdown)

    def _compare(self, state: SearchState, batch: Batch, path: EdgeWeights) -> None:
        """Stop operations that overfit the training images, if the params ask for it."""
        if state.agreement and self.params.stop_operations is not None:
            state.micro_batch = compare(
                state.agreement,
                state.network,
                batch,
                path=path,
                least=self.params.stop_operations,
                micro_batch=state.micro_batch,
            )

    def _held_out(self, epoch: Epoch) -> Iterator[Batch]:
        """Yield batches for architecture steps, reshuffled after each pass over the images."""
        validation = self.params.arch_images == "validation"
        images = self.context.validation if validation else self.context.images
        for turn in count():
            purpose = (epoch.phase, "validation", epoch.number, turn)
            yield from self.context.batches(images, purpose)

    @property
    def _passes(self) -> float:
        """Training passes that an architecture step takes for each of its images."""
        return self.params.arch_paths * FORWARD if self.params.arch_gradient == "score" else 1.0

    def _temperature(self, state: SearchState) -> float:
        return max(self.params.temperature_floor, state.temperature)


def most_skips(state: Supernet) -> int:
    """Return the largest number of skip connections in a cell of the genotype."""
    genotype = decide(state.logits, state.network.blueprint)
    return max(
        sum(gene.operation == SKIP for genes in architecture.nodes for gene in genes)
        for architecture in genotype.architectures
    )
