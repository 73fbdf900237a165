"""One weight step, and the tally of many.

N images, K classes. Nothing here copies from the device: sums stay there until the epoch ends.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import cos, isfinite, pi

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.errors import TrainingFailedError
from pipeline.exchange.records import Row
from pipeline.training.params import TrainingParams


def sgd(parameters: Iterable[nn.Parameter], params: TrainingParams) -> torch.optim.SGD:
    """Return SGD with momentum; the learning rate comes with each step.

    The momentum buffers exist from the start: the fused kernel (7 times faster than the loop over
    thousands of small tensors) crashes where only the sampled operations have gradients and some
    buffers do not exist yet.
    """
    optimizer = torch.optim.SGD(
        parameters, lr=0.0, momentum=params.momentum, weight_decay=params.weight_decay, fused=True
    )
    for parameter in optimizer.param_groups[0]["params"]:
        optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def momentum(optimizer: torch.optim.SGD) -> list[Tensor]:
    """Return the momentum buffers, in the order of the parameters."""
    (group,) = optimizer.param_groups
    return [optimizer.state[parameter]["momentum_buffer"] for parameter in group["params"]]


def load_momentum(optimizer: torch.optim.SGD, saved: Iterable[Tensor]) -> None:
    """Fill the momentum buffers, which keep their memory format: the fused kernel relies on it."""
    for buffer, value in zip(momentum(optimizer), saved, strict=True):
        buffer.copy_(value)


def descend(
    optimizer: torch.optim.SGD,
    losses: Iterable[Tensor],
    *,
    learning_rate: float,
    gradient_clip: float,
) -> Tensor:
    """Apply the gradient of the sum of `losses`, clipped to a norm of `gradient_clip`, once.

    losses: of the parts of a batch; the next is computed when the graph of the last is gone.
    Operations that did not run have no gradient: neither momentum nor weight decay touches them.
    Returns the norm before clipping, on the device.
    """
    (group,) = optimizer.param_groups
    optimizer.zero_grad(set_to_none=True)
    for loss in losses:
        loss.backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_(group["params"], gradient_clip)
    group["lr"] = learning_rate
    optimizer.step()
    return norm


def cosine(start: float, end: float, progress: float) -> float:
    """Return the rate after `progress` in [0, 1] of a phase (Loshchilov & Hutter 2017)."""
    return end + (start - end) * (1 + cos(pi * progress)) / 2


@dataclass(slots=True)
class Tally:
    """Sums over the images of an epoch, and over the gradients of its steps, on their device."""

    loss: Tensor | float = 0.0
    correct: Tensor | float = 0.0
    images: int = 0
    gradient_norm: Tensor | float = 0.0
    steps: int = 0

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Count a batch: (N, K) logits, (N,) labels."""
        logits = logits.detach().float()
        self.loss = self.loss + F.cross_entropy(logits, labels, reduction="sum")
        self.correct = self.correct + (logits.argmax(1) == labels).sum()
        self.images += len(labels)

    def add_step(self, gradient_norm: Tensor) -> None:
        """Count a step: the norm of its gradient before it was clipped."""
        self.gradient_norm = self.gradient_norm + gradient_norm
        self.steps += 1

    def read(self) -> tuple[float, float]:
        """Return mean loss (nats) and accuracy; the one copy from the device.

        Raises:
            TrainingFailedError: the loss or a gradient is not finite.
        """
        loss, accuracy = float(self.loss) / self.images, float(self.correct) / self.images
        for name, value in (("loss", loss), ("gradient", float(self.gradient_norm))):
            if not isfinite(value):
                raise TrainingFailedError(f"the {name} is {value}")
        return loss, accuracy

    def row(self) -> Row:
        """Return what an epoch of training shows; raises as `read` does."""
        loss, accuracy = self.read()
        return {
            "train_loss": loss,
            "train_accuracy": accuracy,
            "gradient_norm": float(self.gradient_norm) / self.steps,
        }
