"""Operations that fail, in every network that is built."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.harness import ranks
from pipeline.space.network import Network

Effect = Callable[[Tensor], Tensor]
Broken = tuple[int, int, str, Effect]
"""Cell, edge, operation, and what becomes of its output."""


def nan(x: Tensor) -> Tensor:
    return x * float("nan")


def infinite(x: Tensor) -> Tensor:
    return x + float("inf")


def refusing(_: Tensor) -> Tensor:
    raise ValueError("no such kernel\nfor this size")


def lacking(_: Tensor) -> Tensor:
    raise RuntimeError("CUDA out of memory. Tried to allocate 9 GiB")


class Backward(torch.autograd.Function):
    """Nothing in the forward pass; in the backward pass an effect on the gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, effect: Effect) -> Tensor:
        ctx.effect = effect
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.effect(gradient), None


def backward(effect: Effect) -> Effect:
    """Return an effect on the gradient of an operation's output instead of on the output."""

    def passing(x: Tensor) -> Tensor:
        passed: Tensor = Backward.apply(x, effect)
        return passed

    return passing


def in_process(number: int, effect: Effect) -> Effect:
    """Return an effect that only one of several processes sees, on its own images."""
    return lambda x: effect(x) if ranks.number() == number else x


def break_operations(monkeypatch: pytest.MonkeyPatch, *broken: Broken) -> None:
    """Let operations fail in every network that is built from here on."""
    original = Network.__init__

    def create(network: Any, *arguments: Any) -> None:
        original(network, *arguments)
        for cell, edge, operation, effect in broken:
            found = network.cells[cell].edges[edge].operations
            if operation in found:
                found[operation].register_forward_hook(
                    lambda _, __, output, effect=effect: effect(output)
                )

    monkeypatch.setattr(Network, "__init__", create)


TOGETHER: dict[str, tuple[str, tuple[int, int, str], Callable[[Effect], Effect]]] = {
    "search, an operation fails": ("search", (0, 1, "sep_conv_3x3"), lambda effect: effect),
    "warmup, one fails backward": ("warmup", (2, 0, "avg_pool_3x3"), backward),
    "optimize, one fails backward": ("optimize", (0, 0, "avg_pool_3x3"), backward),
}
"""What fails while several processes train: the phase, the operation, and in which pass."""
