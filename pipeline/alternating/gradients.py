"""The gradient of an architecture step, estimated from the losses of sampled paths.

Each way estimates the gradient of a sampled path's expected loss with respect to the logits.
A architectures, E edges of a cell, O candidate operations.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from pipeline.alternating.params import SearchParams
from pipeline.space.relaxation import (
    EdgeWeights,
    from_choices,
    hard_weights,
    reinmax,
    relax,
    sample,
    soft_weights,
    whole_weights,
    without_disabled,
)

Loss = Callable[[EdgeWeights], Tensor]
"""Function from edge weights to the loss of a batch, a scalar on the network's device."""


def estimator(
    params: SearchParams,
    logits: Tensor,
    *,
    temperature: float,
    source: Generator,
    device: torch.device,
) -> Callable[[Loss], Tensor | None]:
    """Draw `params.arch_paths` paths; return a function from the loss to a gradient.

    The gradient is (A, E, O) on the CPU, or None if no drawn path reaches the logits. It is linear
    in the losses, so the gradients of the parts of a batch add up.

    Args:
        params: kind of estimate and number of paths.
        logits: (A, E, O), which require a gradient.
        temperature: temperature of the relaxation, > 0.
        source: random source of the draws.
        device: device of the network.
    """
    if params.sampling != "soft" and params.arch_gradient == "score":
        drawn = [
            sample(logits.detach(), temperature=temperature, generator=source).argmax(-1)
            for _ in range(params.arch_paths)
        ]
        return partial(score, logits.detach(), torch.stack(drawn))

    def draw() -> EdgeWeights:
        if params.sampling == "soft":
            rows = relax(logits, temperature=temperature, generator=source)
            return soft_weights(rows, device=device)
        if params.arch_gradient == "reinmax":
            return whole_weights(reinmax(logits, temperature=temperature, generator=source), device)
        rows = sample(logits, temperature=temperature, generator=source)
        if params.arch_gradient == "straight_through":
            return whole_weights(rows, device)
        return hard_weights(rows, device)

    drawn_paths = [without_disabled(draw(), logits) for _ in range(params.arch_paths)]
    return partial(differentiate, logits, drawn_paths)


def differentiate(logits: Tensor, drawn: list[EdgeWeights], loss_of: Loss) -> Tensor | None:
    """Return the mean gradient through the gates of the drawn paths."""
    found = []
    for edge_weights in drawn:
        loss = loss_of(edge_weights)
        if loss.requires_grad:  # else every operation drawn is `none`
            (one,) = torch.autograd.grad(loss, logits, retain_graph=True, allow_unused=True)
            if one is not None:  # else nothing that ran reaches the output
                found.append(one)
    return torch.stack(found).sum(0) / len(drawn) if found else None


@torch.no_grad()
def score(logits: Tensor, choices: Tensor, loss_of: Loss) -> Tensor:
    """Return the score-function estimate, which compares each path's loss with the others'.

    It needs no backward pass and is unbiased for any network (Williams 1992; Kool et al. 2019).

    Args:
        logits: (A, E, O).
        choices: (P, A, E) operation indices of P >= 2 paths, drawn from softmax(logits).
        loss_of: loss of one path.
    """
    paths = len(choices)
    losses = torch.stack([loss_of(from_choices(one)) for one in choices]).to(logits)
    advantages = (losses - losses.mean()) / (paths - 1)
    scores = F.one_hot(choices, logits.shape[-1]) - logits.softmax(-1)
    return torch.einsum("p,paeo->aeo", advantages, scores)
