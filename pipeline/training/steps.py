"""One weight step, and the tally of many.

N images, K classes. Nothing here copies from the device: sums stay there until the epoch ends.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import cos, isfinite, pi

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.devices.together import add_up
from pipeline.harness.errors import TrainingFailedError
from pipeline.harness.records import Row
from pipeline.training.optimizers import Sgd


def descend(
    optimizer: Sgd,
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
    optimizer.zero_grad()
    for loss in losses:
        loss.backward()  # type: ignore[no-untyped-call]
    add_up([one.grad for one in optimizer.parameters if one.grad is not None])
    norm = nn.utils.clip_grad_norm_(optimizer.parameters, gradient_clip)
    optimizer.step(learning_rate)
    return norm


def cosine(start: float, end: float, progress: float) -> float:
    """Return the rate after `progress` in [0, 1] of a phase (Loshchilov & Hutter 2017)."""
    return end + (start - end) * (1 + cos(pi * progress)) / 2


def warmed_cosine(start: float, end: float, progress: float, warmup: float) -> float:
    """Return the rate where it first rises from 0 to `start` (Goyal et al. 2017), then falls.

    progress: in [0, 1]. warmup: the part of the phase in which the rate rises, a fraction of 1.
    """
    if progress < warmup:
        return start * progress / warmup
    return cosine(start, end, (progress - warmup) / (1 - warmup) if warmup < 1 else 1.0)


@dataclass(slots=True)
class Tally:
    """Sums over the images of an epoch, and over the gradients of its steps, on their device.

    learning_rate: of the newest step.
    """

    loss: Tensor | float = 0.0
    correct: Tensor | float = 0.0
    images: int = 0
    gradient_norm: Tensor | float = 0.0
    steps: int = 0
    learning_rate: float = 0.0

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Count a batch: (N, K) logits, (N,) labels."""
        logits = logits.detach().float()
        self.loss = self.loss + F.cross_entropy(logits, labels, reduction="sum")
        self.correct = self.correct + (logits.argmax(1) == labels).sum()
        self.images += len(labels)

    def add_step(self, gradient_norm: Tensor, learning_rate: float) -> None:
        """Count a step: the norm of its gradient before it was clipped, its learning rate."""
        self.gradient_norm = self.gradient_norm + gradient_norm
        self.steps += 1
        self.learning_rate = learning_rate

    def read(self) -> tuple[float, float]:
        """Return mean loss (nats) and accuracy; the one copy from the device.

        Raises:
            TrainingFailedError: the loss or a gradient is not finite.
        """
        sums = torch.tensor([float(self.loss), float(self.correct), self.images]).double()
        add_up([sums])
        total, correct, images = sums.tolist()
        loss, accuracy = total / images, correct / images
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
            "learning_rate": self.learning_rate,
        }
