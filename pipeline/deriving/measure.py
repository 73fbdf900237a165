"""The one look at the test split.

N images, K classes.
"""

import torch
import torch.nn.functional as F
from sklearn.metrics import recall_score
from torch import Tensor

from pipeline.data.batches import Images, evaluation_batches
from pipeline.space.network import Network


@torch.no_grad()
def predict(network: Network, images: Images, batch_size: int) -> Tensor:
    """Return (N, K) float32 logits on the CPU; the network is in evaluation mode."""
    return torch.cat([network(batch) for batch, _ in evaluation_batches(images, batch_size)]).cpu()


def measure(logits: Tensor, labels: Tensor, classes: tuple[str, ...]) -> dict[str, object]:
    """Return accuracy and loss (nats), and the accuracy of each class.

    logits: (N, K). labels: (N,).
    """
    labels = labels.cpu()
    predicted = logits.argmax(1)
    recall = recall_score(
        labels.numpy(), predicted.numpy(), labels=range(len(classes)), average=None
    )
    return {
        "test_accuracy": float((predicted == labels).double().mean()),
        "test_loss": float(F.cross_entropy(logits, labels)),
        "accuracy_by_class": dict(zip(classes, map(float, recall), strict=True)),
    }
