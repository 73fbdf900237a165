"""One weight step, and the tally of many.

N images, K classes. Nothing here copies from the device: sums stay there until the epoch ends.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import cos, pi

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.errors import TrainingFailedError
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
    optimizer: torch.optim.SGD, loss: Tensor, *, learning_rate: float, gradient_clip: float
) -> None:
    """Apply the gradient of `loss`, clipped to a norm of `gradient_clip`, once.

    Operations that did not run have no gradient: neither momentum nor weight decay touches them.
    """
    (group,) = optimizer.param_groups
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(group["params"], gradient_clip)
    group["lr"] = learning_rate
    optimizer.step()


def cosine(start: float, end: float, progress: float) -> float:
    """Return the rate after `progress` in [0, 1] of a phase (Loshchilov & Hutter 2017)."""
    return end + (start - end) * (1 + cos(pi * progress)) / 2


@dataclass(slots=True)
class Tally:
    """Sums over the images of an epoch, on their device."""

    loss: Tensor | float = 0.0
    correct: Tensor | float = 0.0
    images: int = 0

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Count a batch: (N, K) logits, (N,) labels."""
        logits = logits.detach().float()
        self.loss = self.loss + F.cross_entropy(logits, labels, reduction="sum")
        self.correct = self.correct + (logits.argmax(1) == labels).sum()
        self.images += len(labels)

    def read(self) -> tuple[float, float]:
        """Return mean loss (nats) and accuracy; the one copy from the device.

        Raises:
            TrainingFailedError: the loss is not finite.
        """
        loss, accuracy = float(self.loss) / self.images, float(self.correct) / self.images
        if not torch.isfinite(torch.tensor(loss)):
            raise TrainingFailedError(
                f"the loss is {loss}: training diverged;"
                " try a lower learning_rate or training.gradient_clip"
            )
        return loss, accuracy
