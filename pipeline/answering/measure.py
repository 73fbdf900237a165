"""Predictions of the finished network: what it says of held-out images.

N images, K classes.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from scipy.stats import binomtest
from sklearn.metrics import precision_recall_fscore_support
from torch import Tensor, nn

from pipeline.batches.batches import evaluation_batches
from pipeline.batches.images import Images, read_images
from pipeline.devices.memory import within_memory
from pipeline.harness.records import Row
from pipeline.prepared.facts import SPLITS, Split
from pipeline.space.checkpoint import Checkpoint

Answers = tuple[Tensor, Tensor]
"""(N, K) logits and (N,) labels of images, on the CPU."""

BATCH_SIZE = 128
"""Images at a time; not a param, because another number changes the last bits of a result."""

TOP = 5
"""Number of likeliest classes among which the right one counts as found."""


@torch.no_grad()
def predict(network: nn.Module, images: Images) -> Tensor:
    """Return (N, K) float32 logits on the CPU; the network must be in evaluation mode."""

    def logits(size: int) -> Tensor:
        return torch.cat([network(batch) for batch, _ in evaluation_batches(images, size)]).cpu()

    found, _ = within_memory(logits, BATCH_SIZE)
    return found


def predict_held_out(trained: Checkpoint, prepare: Path) -> dict[Split, Answers]:
    """Return the answers for each split that was not trained on.

    trained: checkpoint of optimize; its network is in evaluation mode.
    """
    found = {}
    for split in SPLITS:
        if split not in trained.fact("trained_on"):
            images = read_images(prepare, split, trained.network.head.weight.device)
            found[split] = predict(trained.network, images), images.labels.cpu()
    return found


def measure(logits: Tensor, labels: Tensor, classes: tuple[str, ...]) -> dict[str, object]:
    """Return accuracy with its 95 % interval, loss (nats), and precision, recall and F1.

    Means over the classes are numbers; those of each class are a mapping. Precision and F1 of a
    class that is never predicted are 0. logits: (N, K). labels: (N,), on the CPU.
    """
    predicted = logits.argmax(1)
    by_class = precision_recall_fscore_support(
        labels.numpy(), predicted.numpy(), labels=range(len(classes)), zero_division=0.0
    )[:3]
    right = int((predicted == labels).sum())
    low, high = interval(right, len(labels))
    precision, recall, f1 = (float(values.mean()) for values in by_class)
    rows = [tuple(map(float, values)) for values in zip(*by_class, strict=True)]
    return {
        "test_accuracy": right / len(labels),
        "test_accuracy_low": low,
        "test_accuracy_high": high,
        **({"test_top5_accuracy": top_accuracy(logits, labels)} if len(classes) > TOP else {}),
        "test_precision": precision,
        "test_recall": recall,
        "test_f1": f1,
        "test_loss": float(F.cross_entropy(logits, labels)),
        "accuracy_by_class": dict(zip(classes, (recall for _, recall, _ in rows), strict=True)),
        "measures_by_class": {
            name: dict(zip(("precision", "recall", "f1"), row, strict=True))
            for name, row in zip(classes, rows, strict=True)
        },
    }


def top_accuracy(logits: Tensor, labels: Tensor) -> float:
    """Return the fraction of images for which fewer than `TOP` classes beat the right one."""
    better = (logits > logits.gather(1, labels[:, None])).sum(1)
    return float((better < TOP).double().mean())


def predictions(
    logits: Tensor, probabilities: Tensor, labels: Tensor, classes: tuple[str, ...]
) -> list[Row]:
    """Return a row for each image: its class, the predicted one and the probability of that.

    logits, probabilities: (N, K). labels: (N,).
    """
    predicted, highest = logits.argmax(1), probabilities.amax(1)
    rows = zip(labels.tolist(), predicted.tolist(), highest.tolist(), strict=True)
    return [
        {"actual": classes[actual], "predicted": classes[guess], "probability": probability}
        for actual, guess, probability in rows
    ]


def interval(right: int, images: int) -> tuple[float, float]:
    """Return the 95 % interval of an accuracy (Wilson 1927), fractions of 1."""
    found = binomtest(right, images).proportion_ci(method="wilson")
    return float(found.low), float(found.high)
