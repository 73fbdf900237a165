"""Cell: a small directed graph of nodes whose edges carry candidates.

N images, C channels, H x W pixels, E edges of a cell, O candidate operations.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.space.architecture import Architecture
from pipeline.space.blueprint import CellPlan
from pipeline.space.operations import (
    FactorizedReduce,
    Rectified,
    ResidualReduction,
    build_operation,
    conv_norm,
    without_relu,
)
from pipeline.space.ordering import concatenate
from pipeline.space.space import SKIP, Space

EdgeActivity = tuple[tuple[int, ...], ...]
"""Indices of the operations that run, for each of the E edges."""


class State:
    """What the edges of a cell read; its ReLU is computed once for all operations on it."""

    def __init__(self, x: Tensor) -> None:
        self.plain = x
        self._rectified: Tensor | None = None

    def through(self, operation: nn.Module) -> Tensor:
        """Return what an operation makes of it: (N, C, H / stride, W / stride)."""
        if not isinstance(operation, Rectified):
            plain: Tensor = operation(self.plain)
            return plain
        if self._rectified is None:
            self._rectified = F.relu(self.plain)
        output: Tensor = operation(self._rectified)
        return output


class Edge(nn.Module):
    """The operations of one edge: all candidates of a supernet, or at most one of them."""

    def __init__(
        self,
        names: tuple[str, ...],
        space: Space,
        channels: int,
        stride: int,
    ) -> None:
        super().__init__()
        layers = {name: space.operation(name).layers for name in names}
        self.operations = nn.ModuleDict(
            {
                name: without_relu(build_operation(one, channels, stride))
                for name, one in layers.items()
                if one is not None
            }
        )
        self.by_index = tuple(
            None if layers[name] is None else self.operations[name] for name in names
        )

    def forward(
        self,
        state: State,
        active: tuple[int, ...],
        gates: Tensor | None,
        kept: Tensor | None,
        *,
        auxiliary: float = 0.0,
    ) -> Tensor | None:
        """Return the sum of the active operations, each times its gate; None if nothing runs.

        active: indices into the names this edge was built from. gates: (O,), or None if all are 1.
        kept: (N, 1, 1, 1) factors of drop path, which spares skip connections, or None. auxiliary:
        weight of an extra skip connection on the edge (Chu et al. 2021).
        """
        skips = auxiliary and SKIP in self.operations
        total = auxiliary * state.through(self.operations[SKIP]) if skips else None
        for index in active:
            operation = self.by_index[index]
            if operation is None:
                continue
            output = state.through(operation)
            if gates is not None:
                output = output * gates[index]
            if kept is not None and not isinstance(operation, nn.Identity):
                output = output * kept
            total = output if total is None else total + output
        return total


class Edges(nn.ModuleList):
    """The edges of a cell, node by node; each node sums over the inputs and all earlier nodes.

    If an architecture is given, only its edges have an operation, one each.
    """

    def __init__(
        self,
        architecture: Architecture | None,
        space: Space,
        *,
        nodes: int,
        operations: tuple[str, ...],
        channels: int,
        stride: int = 1,
    ) -> None:
        """Create the edges; `stride` applies to those that come from an input of the cell."""
        super().__init__()
        inputs = len(space.inputs)
        self.nodes, self.inputs, self.stride = nodes, inputs, stride
        kept = []
        for node in range(nodes):
            chosen = (
                {gene.source: (gene.operation,) for gene in architecture.nodes[node]}
                if architecture is not None
                else dict.fromkeys(range(node + inputs), operations)
            )
            for source in range(node + inputs):
                kept.append(chosen.get(source, ()))
                step = stride if source < inputs else 1
                self.append(Edge(kept[-1], space, channels, step))
        self.discrete_activity: EdgeActivity = tuple((0,) * len(names) for names in kept)
        self.have_layers = tuple(
            tuple(space.operation(name).layers is not None for name in names) for names in kept
        )

    def forward(
        self,
        states: list[Tensor],
        activity: EdgeActivity | None,
        gates: Tensor | None,
        kept: Tensor | None,
        *,
        auxiliary: float = 0.0,
    ) -> list[Tensor]:
        """Inputs, each (N, C, H, W) -> every node, each (N, C, H / stride, W / stride)."""
        activity = activity or self.discrete_activity
        read = [State(x) for x in states]
        first = 0
        for node in range(self.nodes):
            total: Tensor | None = None
            for source in range(node + self.inputs):
                index = first + source
                output = self[index](
                    read[source],
                    activity[index],
                    None if gates is None else gates[index],
                    None if kept is None else kept[index],
                    auxiliary=auxiliary,
                )
                if output is not None:
                    total = output if total is None else total + output
            first += node + self.inputs
            read.append(State(self._silent(states[-1]) if total is None else total))
        return [state.plain for state in read[self.inputs :]]

    def run(self, activity: EdgeActivity | None) -> bool:
        """Whether any operation with layers runs."""
        return any(
            has_layers[index]
            for has_layers, active in zip(
                self.have_layers, activity or self.discrete_activity, strict=True
            )
            for index in active
        )

    def _silent(self, x: Tensor) -> Tensor:
        """Return zeros in the shape of a node, for a node whose edges are all cut."""
        return torch.zeros_like(x[:, :, :: self.stride, :: self.stride])


class Cell(nn.Module):
    """A cell of any search space.

    If an architecture is given, only its edges have an operation, one each.
    """

    def __init__(
        self,
        plan: CellPlan,
        space: Space,
        *,
        nodes: int,
        operations: tuple[str, ...],
        inputs: tuple[int, int],
        halve_first: bool,
        architecture: Architecture | None,
    ) -> None:
        """Create the modules.

        inputs: channels of the outputs of the two cells before, the previous one last.
        halve_first: whether the first of these has twice the resolution of the last.

        Raises:
            ValueError: a normal cell would change the channels, but its space does not adapt them.
        """
        super().__init__()
        channels, reduces = plan.channels, plan.kind == "reduction"
        self.space = space
        self.reduction: nn.Module | None = None
        if space.adapts:
            read = inputs[-len(space.inputs) :]
            for number, own in enumerate(read):
                halved = halve_first and number < len(read) - 1
                adapt = FactorizedReduce(own, channels) if halved else conv_norm(own, channels)
                self.add_module(f"input_{number}", adapt)
        elif reduces:
            self.reduction = ResidualReduction(inputs[1], channels)
        elif channels != inputs[1]:
            raise ValueError(f"a normal cell of {channels} channels after {inputs[1]}")
        self.edges = Edges(
            architecture,
            space,
            nodes=nodes,
            operations=operations,
            channels=channels,
            stride=2 if space.adapts and reduces else 1,
        )
        self.gate = nn.Parameter(torch.zeros(())) if plan.grown else None

    def forward(
        self,
        s0: Tensor,
        s1: Tensor,
        activity: EdgeActivity | None,
        gates: Tensor | None,
        kept: Tensor | None,
        *,
        auxiliary: float = 0.0,
    ) -> Tensor:
        """(N, C0, H0, W0), (N, C1, H, W) -> (N, C', H', W'), all nodes or the last one.

        s0, s1: outputs of the two cells before, after a ReLU if the space rectifies. Cells that
            read one output read s1.
        If the space adds the input, a grown cell leaves that to its gate.
        activity: operations that run on each edge; None runs all that a discrete cell has.
        gates: (E, O) factors through which gradients reach the logits, or None.
        kept: (E, N, 1, 1, 1) factors of drop path, or None.
        auxiliary: weight of an extra skip connection on each edge.
        """
        inputs = [s0, s1][-len(self.space.inputs) :]
        if self.space.adapts:
            inputs = [self.get_submodule(f"input_{i}")(x) for i, x in enumerate(inputs)]
        elif self.reduction is not None:
            inputs = [self.reduction(x) for x in inputs]
        adds = self.space.adds_input and self.gate is None
        if adds and not self.edges.run(activity):
            return inputs[-1]
        nodes = self.edges(inputs, activity, gates, kept, auxiliary=auxiliary)
        output = concatenate(nodes) if self.space.concatenates else nodes[-1]
        return inputs[-1] + output if adds else output


def reads(part: str, space: Space) -> int | None:
    """Return which earlier output a part of a cell reads: 0, or 1 for the previous cell's.

    None: the part reads from within the cell. part: name of a submodule of `Cell`, or of its
    reduction.
    """
    first = 2 - len(space.inputs)
    adapting = {f"input_{number}": first + number for number in range(len(space.inputs))}
    return {**adapting, "first": 1, "shortcut": 1}.get(part)
