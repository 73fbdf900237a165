"""Operation-level early stopping (OLES; Jiang et al. 2023).

If the gradients of an operation's weights on training and on held-out images no longer point the
same way, the operation overfits the training images. Its weights are then frozen.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.devices.device import autocast
from pipeline.devices.memory import parts, within_memory
from pipeline.devices.together import add_up, one_batch, share
from pipeline.space.batch_norm import untracked_statistics
from pipeline.space.cell import Edge
from pipeline.space.network import Network
from pipeline.space.relaxation import EdgeWeights
from pipeline.training.context import Batch

COMPARISONS = 20
"""Number of comparisons after which an operation is judged by their mean and counting restarts."""


@dataclass(slots=True, kw_only=True)
class Agreement:
    """The gradient agreement of each operation that has weights, in the order of `operations`.

    cosines: sum of the cosines between its two gradients since it was last judged. comparisons:
    number of these cosines. judged: whether it was ever judged. stopped: whether its weights are
    frozen. All on the CPU.
    """

    cosines: Tensor
    comparisons: Tensor
    judged: Tensor
    stopped: Tensor


def begin(network: Network) -> Agreement:
    """Return the agreement before any comparison; all operations learn."""
    count = len(operations(network))
    return Agreement(
        cosines=torch.zeros(count),
        comparisons=torch.zeros(count, dtype=torch.int64),
        judged=torch.zeros(count, dtype=torch.bool),
        stopped=torch.zeros(count, dtype=torch.bool),
    )


def operations(network: Network) -> list[nn.Module]:
    """Return the candidates of all edges that have weights."""
    return [
        operation
        for edge in network.modules()
        if isinstance(edge, Edge)
        for operation in edge.operations.values()
        if list(operation.parameters())
    ]


def stop(network: Network, stopped: Tensor) -> None:
    """Turn off the gradients of stopped operations, and turn on those of the others."""
    for operation, at_rest in zip(operations(network), stopped.tolist(), strict=True):
        operation.requires_grad_(requires_grad=not at_rest)


def compare(
    agreement: Agreement,
    network: Network,
    batch: Batch,
    *,
    path: EdgeWeights,
    least: float,
    micro_batch: int,
) -> int:
    """Compare the gradients of the newest weight step with those of held-out images.

    Args:
        agreement: agreement so far, which is updated; operations that agree too little stop.
        network: network whose weights have the gradients of that step.
        batch: held-out images.
        path: path of that step.
        least: mean cosine below which an operation stops.
        micro_batch: images at a time.

    Returns:
        `micro_batch`, halved each time memory ran out.
    """
    held_out, labels, total = share(*batch)
    trained = {
        number: moved
        for number, operation in enumerate(operations(network))
        if (moved := [one for one in operation.parameters() if one.grad is not None])
    }
    weights = [one for moved in trained.values() for one in moved]
    if not weights:
        return micro_batch

    def gradients(count: int) -> list[Tensor]:
        sums = [torch.zeros_like(one) for one in weights]
        for images, targets in parts(held_out, labels, count):
            with autocast(images.device), untracked_statistics(), one_batch():
                loss = F.cross_entropy(network(images, path), targets) * (len(targets) / total)
            found = torch.autograd.grad(loss, weights)
            sums = [one + other for one, other in zip(sums, found, strict=True)]
        return sums

    found, micro_batch = within_memory(gradients, micro_batch)
    add_up(found)
    others = iter(found)
    cosines = [
        F.cosine_similarity(
            torch.cat([one.grad.flatten() for one in moved if one.grad is not None]),
            torch.cat([next(others).flatten() for _ in moved]),
            dim=0,
        )
        for moved in trained.values()
    ]
    judge(agreement, torch.tensor(list(trained)), torch.stack(cosines).cpu(), least=least)
    stop(network, agreement.stopped)
    return micro_batch


def judge(agreement: Agreement, numbers: Tensor, cosines: Tensor, *, least: float) -> None:
    """Count a comparison of these operations; stop those whose mean is below `least`."""
    agreement.cosines[numbers] += cosines
    agreement.comparisons[numbers] += 1
    due = agreement.comparisons == COMPARISONS
    agreement.judged |= due
    agreement.stopped |= due & (agreement.cosines < least * COMPARISONS)
    agreement.cosines[due] = 0.0
    agreement.comparisons[due] = 0
