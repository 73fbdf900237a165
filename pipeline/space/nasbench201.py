"""The cells of NAS-Bench-201, exactly as published (Dong & Yang 2020).

N images, C channels, H x W pixels, E edges of a cell, O candidate operations.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pipeline.space.blueprint import CellPlan
from pipeline.space.cell import DropPath, EdgeActivity, Edges
from pipeline.space.genotype import Architecture
from pipeline.space.operations import convolution, relu_conv_norm


def _skip(_channels: int, _stride: int) -> nn.Module:
    return nn.Identity()


def _average_pool(_channels: int, stride: int) -> nn.Module:
    return nn.AvgPool2d(3, stride, 1, count_include_pad=False)


def _convolution(kernel: int) -> Callable[[int, int], nn.Module]:
    def make(channels: int, stride: int) -> nn.Module:
        return relu_conv_norm(channels, channels, kernel, stride)

    return make


OPERATIONS: dict[str, Callable[[int, int], nn.Module]] = {
    "skip_connect": _skip,
    "nor_conv_1x1": _convolution(1),
    "nor_conv_3x3": _convolution(3),
    "avg_pool_3x3": _average_pool,
}
"""Candidate by name: (channels, stride) -> module; the stride is 1 within these cells.

Their average pooling has no BatchNorm, unlike that of `operations.OPERATIONS`.
"""


class ResidualReduction(nn.Module):
    """What halves the resolution between two cells: the basic block of a residual network.

    Odd sizes are rounded up, on the shortcut as by the convolution.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = relu_conv_norm(inputs, outputs, 3, stride=2)
        self.second = relu_conv_norm(outputs, outputs, 3)
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, 2, ceil_mode=True), convolution(inputs, outputs, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, ceil(H / 2), ceil(W / 2))."""
        reduced: Tensor = self.shortcut(x) + self.second(self.first(x))
        return reduced


class Nasbench201Cell(nn.Module):
    """Nodes that sum over all earlier ones and the input; the output is the last node.

    The cell of a reduction plan stands behind a `ResidualReduction`; its own edges keep the size.
    With an architecture given, only its edges exist, each with one operation.
    """

    def __init__(
        self,
        plan: CellPlan,
        *,
        nodes: int,
        operations: tuple[str, ...],
        inputs: int,
        architecture: Architecture | None,
    ) -> None:
        """Build from the channels of the input.

        Raises:
            ValueError: a normal cell shall change the channels, which an identity cannot.
        """
        super().__init__()
        if plan.kind == "normal" and plan.channels != inputs:
            raise ValueError(f"a normal cell of {plan.channels} channels after {inputs}")
        self.reduction = (
            ResidualReduction(inputs, plan.channels) if plan.kind == "reduction" else None
        )
        self.edges = Edges(
            architecture,
            nodes=nodes,
            inputs=1,
            operations=operations,
            channels=plan.channels,
            candidates=OPERATIONS,
        )
        self.gate = nn.Parameter(torch.zeros(())) if plan.grown else None

    def forward(
        self,
        _s0: Tensor,
        s1: Tensor,
        activity: EdgeActivity | None,
        gates: Tensor | None,
        drop_path: DropPath | None,
        *,
        auxiliary: float = 0.0,
    ) -> Tensor:
        """(N, C1, H, W), the output of the cell before -> (N, C, H', W').

        The other arguments are those of `Cell`, which reads one more output.
        """
        x = s1 if self.reduction is None else self.reduction(s1)
        output: Tensor = self.edges([x], activity, gates, drop_path, auxiliary=auxiliary)[-1]
        return output
