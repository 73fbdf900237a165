"""One weight step, and the tally of an epoch's steps.

N images, K classes. Nothing here copies from the device: sums stay there until the epoch ends.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.devices.memory import parts, within_memory
from pipeline.devices.together import add_up, share
from pipeline.harness.errors import TrainingFailedError
from pipeline.harness.records import Row
from pipeline.training.context import Step
from pipeline.training.optimizers import Sgd

Forward = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Function: (N, C, H, W) images, (N,) labels -> (N, K) logits and the mean loss."""


FORWARD = 1 / 3
"""Cost of a pass that only computes outputs, as a fraction of that of a training pass."""


class Learner(Protocol):
    """The state of a training. micro_batch: images at a time, fewer once memory ran out."""

    @property
    def network(self) -> nn.Module:
        """What it trains."""

    optimizer: Sgd
    micro_batch: int


def weight_step(
    learner: Learner, step: Step, begin: Callable[[], Forward], tally: "Tally"
) -> Tensor:
    """Make one step on a batch for the weights that a forward pass runs; return its (N, K) logits.

    If memory runs out, the batch is divided: it is still one step, with the sum of the gradients
    of the parts, but BatchNorm normalises each part by itself. Several processes each take a share
    of the batch, whose logits it returns, and BatchNorm normalises by all of it.

    begin: returns the forward pass; called again when the step is restarted.
    """
    batch, labels, total = share(*step.batch)
    halves = learner.optimizer.halves_of(learner.network)

    def attempt(micro_batch: int) -> tuple[Tensor, list[Tensor]]:
        outputs, forward = [], begin()

        def losses() -> Iterator[Tensor]:
            for images, targets in parts(batch, labels, micro_batch):
                logits, loss = forward(images, targets)
                outputs.append(logits.detach())
                yield loss * (len(targets) / total)
                halves.collect()

        with halves.in_place():
            return descend(learner.optimizer, losses(), step.learning_rate), outputs

    (norm, outputs), learner.micro_batch = within_memory(attempt, learner.micro_batch)
    found = torch.cat(outputs)
    tally.add(found, labels)
    tally.add_step(norm, step.learning_rate)
    return found


def descend(optimizer: Sgd, losses: Iterable[Tensor], learning_rate: float) -> Tensor:
    """Apply the clipped gradient of the sum of `losses`; return its norm before clipping.

    losses: losses of the parts of a batch; each is computed after the graph of the one before is
    freed. Operations that did not run have no gradient and do not change, not even by momentum or
    weight decay. The norm stays on the device.
    """
    optimizer.zero_grad()
    for loss in losses:
        loss.backward()  # type: ignore[no-untyped-call]
    add_up([one.grad for one in optimizer.parameters if one.grad is not None])
    norm = nn.utils.clip_grad_norm_(optimizer.parameters, optimizer.gradient_clip)
    optimizer.step(learning_rate)
    return norm


@dataclass(slots=True)
class Tally:
    """Sums over the images of an epoch and over the gradients of its steps, on their device.

    learning_rate: rate of the newest step.
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
        """Count a step: the norm of its gradient before clipping, and its learning rate."""
        self.gradient_norm = self.gradient_norm + gradient_norm
        self.steps += 1
        self.learning_rate = learning_rate

    def read(self) -> tuple[float, float]:
        """Return mean loss (nats) and accuracy; only this copies from the device.

        Raises:
            TrainingFailedError: the loss or a gradient is not finite.
        """
        loss, accuracy, _ = self._means()
        return loss, accuracy

    def row(self) -> Row:
        """Return the training columns of an epoch's row; raise as `read` does."""
        loss, accuracy, images = self._means()
        return {
            "train_loss": loss,
            "train_accuracy": accuracy,
            "gradient_norm": float(self.gradient_norm) / self.steps,
            "learning_rate": self.learning_rate,
            "image_passes": images,
        }

    def _means(self) -> tuple[float, float, int]:
        """Return what `read` does, and the number of images of all processes."""
        sums = torch.tensor([float(self.loss), float(self.correct), self.images]).double()
        add_up([sums])
        total, correct, images = sums.tolist()
        loss, accuracy = total / images, correct / images
        for name, value in (("loss", loss), ("gradient", float(self.gradient_norm))):
            if not isfinite(value):
                raise TrainingFailedError(f"the {name} is {value}")
        return loss, accuracy, int(images)
