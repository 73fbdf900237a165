"""Weights in bfloat16 for the steps of an accelerator.

Autocast casts each weight by itself whenever it is read, and its gradient back: on a small network
that is a fifth of all that a step launches. Here all are cast at once; the numbers are the same.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.devices.device import precision_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Halves:
    """Copies of the weights that a network's convolutions and linear layers read.

    There are none where it trains in float32. layers: those that read them. weights: float32.
    copies: bfloat16; they learn in place of the weights. constants: the same memory, which nothing
    differentiates.
    """

    layers: list[nn.Conv2d | nn.Linear]
    weights: list[Tensor]
    copies: list[Tensor]
    constants: list[Tensor]

    @classmethod
    def of(cls, network: nn.Module) -> "Halves":
        """Return the copies for a network, of no content yet."""
        layers = [
            layer
            for layer in network.modules()
            if isinstance(layer, nn.Conv2d | nn.Linear)
            and precision_of(layer.weight.device) == "bf16"
        ]
        weights = [layer.weight for layer in layers]
        copies = [torch.empty_like(weight, dtype=torch.bfloat16) for weight in weights]
        constants = [copy.detach() for copy in copies]
        for copy in copies:
            copy.requires_grad_()
        return cls(layers=layers, weights=weights, copies=copies, constants=constants)

    @contextmanager
    def in_place(self, *, constant: bool = False) -> Iterator[None]:
        """Let the layers read the copies; `parameters()` and `state_dict()` are as before."""
        if self.layers:
            with torch.no_grad():
                torch._foreach_copy_(self.constants, self.weights)
        read = self.constants if constant else self.copies
        try:
            for layer, copy in zip(self.layers, read, strict=True):
                vars(layer)["weight"] = copy  # found before the parameter of this name
            yield
        finally:
            for layer, copy in zip(self.layers, self.copies, strict=True):
                vars(layer).pop("weight", None)
                copy.grad = None

    def collect(self) -> None:
        """Add the gradients of the copies to those of the weights."""
        learnt = [
            (weight, copy, copy.grad)
            for weight, copy in zip(self.weights, self.copies, strict=True)
            if copy.grad is not None
        ]
        gradients = [torch.empty_like(weight) for weight, _, _ in learnt]
        if learnt:
            torch._foreach_copy_(gradients, [found for _, _, found in learnt])
        for (weight, copy, _), gradient in zip(learnt, gradients, strict=True):
            weight.grad = gradient if weight.grad is None else weight.grad + gradient
            copy.grad = None
