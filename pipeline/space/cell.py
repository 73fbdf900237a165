"""Cell: a small directed graph of nodes whose edges carry candidates (Liu et al. 2019).

N images, C channels, H x W pixels, E edges of a cell, O candidate operations.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from pipeline.space.blueprint import CellPlan
from pipeline.space.genotype import Architecture
from pipeline.space.operations import OPERATIONS, FactorizedReduce, conv_norm

EdgeActivity = tuple[tuple[int, ...], ...]
"""For each of the E edges: the indices of the operations that run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DropPath:
    """Drop an edge's output for some images and scale the rest (Larsson et al. 2017).

    probability: in [0, 1). generator: on the device of the images.
    """

    probability: float
    generator: Generator

    def __call__(self, x: Tensor) -> Tensor:
        """Return x with whole images zeroed; the expectation stays."""
        keep = 1 - self.probability
        mask = torch.rand((len(x), 1, 1, 1), generator=self.generator, device=x.device) < keep
        return x * (mask.to(x.dtype) / keep)


class Edge(nn.Module):
    """All candidates of one edge in a supernet; one of them in a discrete network.

    Or none at all.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        channels: int,
        stride: int,
        candidates: Mapping[str, Callable[[int, int], nn.Module]] = OPERATIONS,
    ) -> None:
        super().__init__()
        self.operations = nn.ModuleDict(
            {name: candidates[name](channels, stride) for name in names if name != "none"}
        )
        self.by_index = tuple(self.operations[name] if name != "none" else None for name in names)

    def forward(
        self,
        x: Tensor,
        active: tuple[int, ...],
        gates: Tensor | None,
        drop_path: DropPath | None,
        *,
        auxiliary: float = 0.0,
    ) -> Tensor | None:
        """Return the sum of the active operations, each times its gate; None if nothing runs.

        active: indices into the names this edge was built from. gates: (O,), or None where each
        counts fully. auxiliary: weight of the edge's own skip connection beside them (Chu et al.
        2021).
        """
        total = auxiliary * self.operations["skip_connect"](x) if auxiliary else None
        for index in active:
            operation = self.by_index[index]
            if operation is None:
                continue
            output = operation(x)
            if gates is not None:
                output = output * gates[index]
            if drop_path is not None and not isinstance(operation, nn.Identity):
                output = drop_path(output)
            total = output if total is None else total + output
        return total


class Edges(nn.ModuleList):
    """The edges of a cell, node by node: every node sums over the inputs and all earlier nodes.

    With an architecture given, only its edges exist, each with one operation.
    """

    def __init__(
        self,
        architecture: Architecture | None,
        *,
        nodes: int,
        inputs: int,
        operations: tuple[str, ...],
        channels: int,
        stride: int = 1,
        candidates: Mapping[str, Callable[[int, int], nn.Module]] = OPERATIONS,
    ) -> None:
        """Lay the edges out; `stride` is that of the edges that come from an input."""
        super().__init__()
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
                self.append(Edge(kept[-1], channels, step, candidates))
        self.discrete_activity: EdgeActivity = tuple((0,) * len(names) for names in kept)

    def forward(
        self,
        states: list[Tensor],
        activity: EdgeActivity | None,
        gates: Tensor | None,
        drop_path: DropPath | None,
        *,
        auxiliary: float = 0.0,
    ) -> list[Tensor]:
        """Inputs, each (N, C, H, W) -> every node, each (N, C, H / stride, W / stride)."""
        activity = activity or self.discrete_activity
        states = list(states)
        first = 0
        for node in range(self.nodes):
            total: Tensor | None = None
            for source in range(node + self.inputs):
                index = first + source
                output = self[index](
                    states[source],
                    activity[index],
                    None if gates is None else gates[index],
                    drop_path,
                    auxiliary=auxiliary,
                )
                if output is not None:
                    total = output if total is None else total + output
            first += node + self.inputs
            states.append(self._silent(states[self.inputs - 1]) if total is None else total)
        return states[self.inputs :]

    def _silent(self, x: Tensor) -> Tensor:
        """Zeros in the shape of a node, for a node all of whose edges are cut."""
        return torch.zeros_like(x[:, :, :: self.stride, :: self.stride])


class Cell(nn.Module):
    """Reads the two outputs before it; its own output concatenates its nodes."""

    def __init__(
        self,
        plan: CellPlan,
        *,
        nodes: int,
        operations: tuple[str, ...],
        inputs: tuple[int, int],
        halve_first: bool,
        architecture: Architecture | None,
    ) -> None:
        """Build from the channels of both inputs.

        `halve_first`: input 0 has twice input 1's resolution.
        """
        super().__init__()
        channels = plan.channels
        self.input_0: nn.Module = (
            FactorizedReduce(inputs[0], channels) if halve_first else conv_norm(inputs[0], channels)
        )
        self.input_1 = conv_norm(inputs[1], channels)
        self.edges = Edges(
            architecture,
            nodes=nodes,
            inputs=2,
            operations=operations,
            channels=channels,
            stride=2 if plan.kind == "reduction" else 1,
        )
        self.gate = nn.Parameter(torch.zeros(())) if plan.grown else None

    def forward(
        self,
        s0: Tensor,
        s1: Tensor,
        activity: EdgeActivity | None,
        gates: Tensor | None,
        drop_path: DropPath | None,
        *,
        auxiliary: float = 0.0,
    ) -> Tensor:
        """(N, C0, H0, W0), (N, C1, H, W) -> (N, nodes * C, H / stride, W / stride).

        s0, s1: after a ReLU, which two cells share.
        activity: which operations run on each edge; None runs what a discrete cell has.
        gates: (E, O) factors through which gradients reach the logits, or None.
        auxiliary: weight of an extra skip connection on each edge.
        """
        inputs = [self.input_0(s0), self.input_1(s1)]
        return torch.cat(self.edges(inputs, activity, gates, drop_path, auxiliary=auxiliary), dim=1)
