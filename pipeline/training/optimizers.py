"""The two optimisers: torch's own steps, with their state in plain sight.

The classes of `torch.optim` import torch's compiler when the first one is made: 4 s in every stage.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from pipeline.training.params import TrainingParams


@dataclass(frozen=True, slots=True, kw_only=True)
class Sgd:
    """SGD with momentum and weight decay, of the weights.

    buffers: of the momentum, one for each parameter. gradient_clip: largest norm of the gradient.
    nesterov: step along the momentum as it will be (Sutskever et al. 2013). decays_all: BatchNorm,
    biases and gates too, not only the weights of convolutions and heads.
    """

    parameters: list[nn.Parameter]
    buffers: list[Tensor]
    momentum: float
    weight_decay: float
    gradient_clip: float
    nesterov: bool = False
    decays_all: bool = True

    @classmethod
    def of(cls, parameters: Iterable[nn.Parameter], params: TrainingParams) -> "Sgd":
        """Begin without momentum."""
        return cls.begin(
            parameters,
            momentum=params.momentum,
            weight_decay=params.weight_decay,
            gradient_clip=params.gradient_clip,
        )

    @classmethod
    def begin(cls, parameters: Iterable[nn.Parameter], **settings: Any) -> "Sgd":
        """Begin without momentum. settings: the fields that are no tensors."""
        listed = list(parameters)
        buffers = [torch.zeros_like(parameter) for parameter in listed]
        return cls(parameters=listed, buffers=buffers, **settings)

    def load(self, buffers: Iterable[Tensor]) -> None:
        """Fill the buffers, which keep their memory format: the fused kernel relies on it."""
        for buffer, saved in zip(self.buffers, buffers, strict=True):
            buffer.copy_(saved)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Apply the gradients.

        Parameters without one stay as they are: neither momentum nor weight decay touches them.
        """
        moved = [number for number, one in enumerate(self.parameters) if one.grad is not None]
        for decays in (True, False):
            group = [
                number
                for number in moved
                if decays == (self.decays_all or self.parameters[number].ndim > 1)
            ]
            if group:
                self._step(group, learning_rate, self.weight_decay if decays else 0.0)

    def _step(self, numbers: list[int], learning_rate: float, weight_decay: float) -> None:
        sgd(
            [self.parameters[number] for number in numbers],
            [self.parameters[number].grad for number in numbers],  # type: ignore[misc]
            [self.buffers[number] for number in numbers],
            fused=True,  # 7 times faster than a loop over thousands of small tensors
            weight_decay=weight_decay,
            momentum=self.momentum,
            lr=learning_rate,
            dampening=0.0,
            nesterov=self.nesterov and self.momentum > 0,
            maximize=False,
        )


BETAS = (0.5, 0.999)  # Liu et al. 2019, section 3.1


@dataclass(slots=True)
class Adam:
    """Adam, of the logits; no weight decay, which would pull every edge back to undecided.

    mean, square: running means of the gradient and its square. steps: made, a tensor.
    """

    logits: Tensor
    learning_rate: float
    mean: Tensor = field(init=False)
    square: Tensor = field(init=False)
    steps: Tensor = field(init=False)

    def __post_init__(self) -> None:
        """Begin without moments."""
        self.mean = torch.zeros_like(self.logits)
        self.square = torch.zeros_like(self.logits)
        self.steps = torch.tensor(0.0)

    @torch.no_grad()
    def step(self, gradient: Tensor, slowdown: float = 1.0) -> None:
        """Apply a gradient. slowdown: factor on the learning rate."""
        adam(
            [self.logits],
            [gradient],
            [self.mean],
            [self.square],
            [],
            [self.steps],
            foreach=False,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=slowdown * self.learning_rate,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )
