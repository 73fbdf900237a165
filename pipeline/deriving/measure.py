"""Predictions and measurements on the test split.

N images, K classes.
"""

import torch
import torch.nn.functional as F
from scipy.stats import binomtest
from sklearn.metrics import recall_score
from torch import Tensor, nn

from pipeline.batches.batches import evaluation_batches
from pipeline.batches.images import Images
from pipeline.devices.memory import within_memory

BATCH_SIZE = 128
"""Images at a time; not a param, because another number changes the last bits of a result."""


@torch.no_grad()
def predict(network: nn.Module, images: Images) -> Tensor:
    """Return (N, K) float32 logits on the CPU; the network must be in evaluation mode."""

    def logits(size: int) -> Tensor:
        return torch.cat([network(batch) for batch, _ in evaluation_batches(images, size)]).cpu()

    found, _ = within_memory(logits, BATCH_SIZE)
    return found


def measure(logits: Tensor, labels: Tensor, classes: tuple[str, ...]) -> dict[str, object]:
    """Return accuracy with its 95 % interval, loss (nats), and the accuracy of each class.

    logits: (N, K). labels: (N,).
    """
    labels = labels.cpu()
    predicted = logits.argmax(1)
    recall = recall_score(
        labels.numpy(), predicted.numpy(), labels=range(len(classes)), average=None
    )
    right = int((predicted == labels).sum())
    low, high = interval(right, len(labels))
    return {
        "test_accuracy": right / len(labels),
        "test_accuracy_low": low,
        "test_accuracy_high": high,
        "test_loss": float(F.cross_entropy(logits, labels)),
        "accuracy_by_class": dict(zip(classes, map(float, recall), strict=True)),
    }


def interval(right: int, images: int) -> tuple[float, float]:
    """Return the 95 % interval of an accuracy (Wilson 1927), fractions of 1."""
    found = binomtest(right, images).proportion_ci(method="wilson")
    return float(found.low), float(found.high)
