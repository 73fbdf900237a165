"""Distillation: the network learns a teacher's answers beside the labels (Hinton et al. 2015).

Temperature and weight are constants: they tried temperatures of 1, 2, 5 and 10 with a weight of one
half (section 4), and 2 is one of these.
N images, K classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.batches.images import Images
from pipeline.console.progress import say
from pipeline.devices.together import add_up, is_mine
from pipeline.prepared.facts import DatasetFacts

BATCH_SIZE = 256
"""Number of images that a teacher sees at a time."""
TEMPERATURE = 2.0
"""Divisor of the logits of both: it shows which wrong classes the teacher finds likely."""
WEIGHT = 0.5
"""Share of the teacher in the loss; the labels have the rest."""


def soft_targets(path: str | None, images: Images, facts: DatasetFacts) -> Tensor | None:
    """Return a teacher's probabilities at `TEMPERATURE`: (N, K) on the device; None without one.

    It sees each image once, as it is: what augmentation makes of an image later has the same
    target. Several processes each ask it about a part of the images.

    path: an ONNX file that this project exported, or None. facts: of the images.

    Raises:
        DataError: the file cannot be used, or has other classes or images of another shape.
    """
    if path is None:
        return None
    from pipeline.optimizing.teacher import read_teacher  # noqa: PLC0415 - takes 0.2 s

    teacher = read_teacher(path)
    teacher.require_fit(facts)
    logits = torch.zeros(len(images), len(facts.classes))
    rows = images.pixels.permute(0, 2, 3, 1)
    parts = zip(torch.split(rows, BATCH_SIZE), torch.split(logits, BATCH_SIZE), strict=True)
    for number, (pixels, found) in enumerate(parts):
        if is_mine(number):
            found.copy_(torch.from_numpy(teacher.logits(pixels.cpu().contiguous().numpy())))
    logits = logits.to(images.device)
    add_up([logits])
    right = (logits.argmax(1) == images.labels).float().mean()
    say(f"{teacher.where}: right on {right:.2%} of the {len(images)} training images")
    return (logits / TEMPERATURE).softmax(1)


def divergence(logits: Tensor, taught: Tensor) -> Tensor:
    """Return (N,) Kullback-Leibler divergences from a teacher's answers to a network's, in nats.

    They are scaled by TEMPERATURE ** 2, so that their gradients are as large as the labels'.

    logits: (N, K). taught: (N, K) probabilities at `TEMPERATURE`.
    """
    answers = F.log_softmax(logits / TEMPERATURE, 1)
    return F.kl_div(answers, taught, reduction="none").sum(1) * TEMPERATURE**2
