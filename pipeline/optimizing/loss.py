"""The loss that optimize minimises: cross entropy with the labels of images, which may be mixed.

With a teacher, the divergence from its answers is a part of it.

N images, K classes.
"""

from dataclasses import dataclass
from typing import Self

import torch.nn.functional as F
from torch import Tensor

from pipeline.batches.images import Images
from pipeline.optimizing.distilling import WEIGHT, divergence
from pipeline.optimizing.mixing import partners
from pipeline.optimizing.params import OptimizeParams


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """The mean loss of a batch. weights: see `class_weights`; None if all images weigh the same."""

    label_smoothing: float
    weights: Tensor | None

    @classmethod
    def of(cls, params: OptimizeParams, images: Images, classes: int) -> Self:
        """Return the loss for training on `images`."""
        weights = None
        if params.balance:
            weights = class_weights(images.labels, classes, params.balance)
        return cls(label_smoothing=params.label_smoothing, weights=weights)

    def __call__(
        self, logits: Tensor, labels: Tensor, own: Tensor | None, taught: Tensor | None = None
    ) -> Tensor:
        """(N, K) logits, (N,) labels -> the mean over the images.

        own: (N,) share of each image that is its own, the rest is its partner's; None if the images
        are not mixed. taught: (N, K) soft targets of the images, None without a teacher.
        """
        if own is not None:
            others = None if taught is None else partners(taught)
            of_others = self.of_each(logits, partners(labels), others)
            return of_others.lerp(self.of_each(logits, labels, taught), own).mean()
        if self.weights is not None or taught is not None:
            return self.of_each(logits, labels, taught).mean()
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)

    def of_each(self, logits: Tensor, labels: Tensor, taught: Tensor | None) -> Tensor:
        """(N, K) logits, (N,) labels -> (N,), each times the weight of its class."""
        losses = F.cross_entropy(
            logits, labels, label_smoothing=self.label_smoothing, reduction="none"
        )
        if taught is not None:
            losses = losses.lerp(divergence(logits, taught), WEIGHT)
        return losses if self.weights is None else losses * self.weights[labels]


def class_weights(labels: Tensor, classes: int, balance: float) -> Tensor:
    """Return (K,) float32, in proportion to the images of a class to the power of -`balance`.

    Their mean over the images is 1, so the learning rate keeps its meaning. At 1 every class has
    the same total; a class without images has the weight of one with a single image.

    labels: (N,), of all training images.
    """
    counts = labels.cpu().bincount(minlength=classes).double()  # which not every device has
    weights = counts.clamp(min=1) ** -balance
    return (weights * len(labels) / (counts * weights).sum()).float().to(labels.device)
