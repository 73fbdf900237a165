"""Growth of the weights: a larger network that computes the same as the smaller one.

**Deepen**: the new cell's gate is 0, so it adds nothing yet. **Widen**: old channels do not read
new ones, because the weights from new to old channels are 0; the new ones have random weights, so
their outgoing weights get a gradient from the first step on. **Node**: what reads a cell reads its
new node with weights of 0. (After Net2Net, Chen et al. 2016;
gates as in ReZero, Bachlechner et al. 2020.)

A widened node keeps the first half of its channels in the first half and the second in the second,
because a factorized reduction makes one half on each of its paths. `Channels` maps give the
positions of the old channels among the new ones.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Generator, Tensor

from pipeline.space.blueprint import Blueprint
from pipeline.space.cell import reads
from pipeline.space.network import Network, build
from pipeline.space.relaxation import disabled
from pipeline.training.optimizers import Adam, Sgd
from pipeline.training.params import TrainingParams

LAYERS_OF_A_CONVOLUTION = 3
"""Layers of a stem for each convolution before its last: it, its BatchNorm and a ReLU."""
Channels = Tensor
"""Position of each old channel among the new ones, (old channels,) int64."""


def grow(
    network: Network, blueprint: Blueprint, *, added: int | None, generator: Generator
) -> Network:
    """Return a network of the grown blueprint with the old weights in place.

    added: index of the cell that is new in `blueprint`, None if it was widened.
    """
    grown = build(blueprint, generator=generator, device=network.head.weight.device)
    state = grown.state_dict()
    old = network.state_dict()
    for name, source, outputs, inputs in _places(network.blueprint, blueprint, old, state, added):
        state[name].copy_(place(old[source], state[name], outputs, inputs))
    grown.train(network.training)
    return grown


def grow_momentum(
    optimizer: Sgd, network: Network, grown: Network, params: TrainingParams, *, added: int | None
) -> Sgd:
    """Return an optimiser of the grown network with the momentum of the old weights.

    New weights have zero momentum.
    """
    following = Sgd.of(grown.parameters(), params)
    old = dict(zip(dict(network.named_parameters()), optimizer.buffers, strict=True))
    new = dict(zip(dict(grown.named_parameters()), following.buffers, strict=True))
    for name, source, outputs, inputs in _places(
        network.blueprint, grown.blueprint, old, new, added
    ):
        new[name].copy_(place(old[source], new[name], outputs, inputs))
    return following


def grow_logits(logits: Tensor, optimizer: Adam, fresh: Tensor) -> tuple[Tensor, Adam]:
    """Return logits with those of new cells and edges, and Adam with the old moments.

    After many steps Adam does not correct its moments any more, so new logits begin with the mean
    square gradient of the old ones: from 0, their first steps would be several times the learning
    rate.

    logits: (A, E, O). fresh: (A', E', O), the initial logits of what is new.
    """
    architectures, edges, _ = logits.shape
    grown = fresh.clone()
    grown[:architectures, :edges] = logits.detach()
    following = Adam(grown.requires_grad_(), optimizer.learning_rate)
    following.mean[:architectures, :edges] = optimizer.mean
    following.square[:, edges:] = optimizer.square.mean((0, 1))
    following.square[:, :edges] = optimizer.square.mean(0)
    following.square[:architectures, :edges] = optimizer.square
    following.steps = optimizer.steps.clone()
    return grown, following


def mutate(logits: Tensor, optimizer: Adam, fresh: Tensor, edges: Tensor) -> None:
    """Let the logits of some edges begin anew, in place; what is disabled stays so.

    logits, fresh: (A, E, O). edges: (A, E), true where the logits become those of `fresh`.
    """
    with torch.no_grad():
        logits[edges] = fresh.masked_fill(disabled(logits), -torch.inf)[edges]
    optimizer.mean[edges] = 0.0
    optimizer.square[edges] = optimizer.square.mean((0, 1))


def place(old: Tensor, new: Tensor, outputs: Channels | None, inputs: Channels | None) -> Tensor:
    """Return `new` with `old` copied to its place, and 0 from new inputs to old outputs.

    outputs, inputs: maps for dimensions 0 and 1; None if a dimension did not grow.
    """
    if old.dim() == 0:
        return old
    result = new.clone()
    rows = torch.arange(len(old)) if outputs is None else outputs
    rows = rows.to(old.device)
    if old.dim() == 1 or inputs is None:
        result[rows] = old
        return result
    columns = inputs.to(old.device)
    result[rows] = 0
    result[rows[:, None], columns] = old
    return result


def spread(old: int, new: int) -> Channels:
    """Return the positions of a node's old channels among its new ones.

    Each old half is at the start of a new half.
    """
    half = old // 2
    return torch.cat([torch.arange(half), new // 2 + torch.arange(old - half)])


def _places(
    before: Blueprint,
    after: Blueprint,
    old: Mapping[str, Tensor],
    new: Mapping[str, Tensor],
    added: int | None,
) -> Iterator[tuple[str, str, Channels | None, Channels | None]]:
    """Yield the new and old name of each old tensor, and the maps of its outputs and inputs."""
    maps = _Maps(before, after, added)
    for name, tensor in new.items():
        part, *rest = name.split(".")
        if part == "stem" and int(rest[0]) < LAYERS_OF_A_CONVOLUTION * len(after.stem_widths):
            yield name, name, None, None
            continue
        if part != "cells":
            outputs = {"stem": maps.stem, "norm": maps.head}.get(part)
            yield name, name, outputs, maps.head if name == "head.weight" else None
            continue
        index = int(rest[0])
        section = rest[2] if rest[1] == "reduction" else rest[1]
        if index == added:
            continue
        source = ".".join(["cells", str(maps.old_index(index)), *rest[1:]])
        if source not in old:  # on an edge of a new node
            continue
        if tensor.dim() == 0:
            yield name, source, None, None
            continue
        small = old[source].shape
        halved = rest[-2] in ("even", "odd")
        outputs = torch.arange(small[0]) if halved else spread(small[0], len(tensor))
        read, inputs = reads(section, after.rules), None
        if tensor.dim() > 1 and tensor.shape[1] > 1:  # not depthwise
            within = spread(small[1], tensor.shape[1])
            inputs = within if read is None else maps.inputs[index][read]
        yield name, source, outputs, inputs


class _Maps:
    """Channel maps of every cell, in the order of the grown blueprint."""

    def __init__(self, before: Blueprint, after: Blueprint, added: int | None) -> None:
        self.added = added
        self.stem = spread(before.stem_channels, after.stem_channels)
        sources = (self.stem, self.stem)
        self.nodes: list[Channels] = []
        self.inputs: list[tuple[Channels, Channels]] = []
        for index, plan in enumerate(after.cells):
            self.inputs.append(sources)
            old = plan if index == added else before.cells[self.old_index(index)]
            nodes = spread(old.channels, plan.channels)
            self.nodes.append(nodes)
            if not plan.grown:
                output = torch.cat(
                    [node * plan.channels + nodes for node in range(before.output_nodes)]
                )
                sources = (sources[1], output)
        self.head = sources[1]

    def old_index(self, index: int) -> int:
        """Return the index that a cell had before the new one was added."""
        return index - (self.added is not None and index > self.added)
