"""What every reference is given, and what it gives back."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.batches.images import Images
from pipeline.batches.params import AugmentationParams
from pipeline.optimizing.params import OptimizeParams
from pipeline.space.network import Network
from pipeline.training.params import TrainingParams
from pipeline.training.resume import Points


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """The images and the network that the references are measured against.

    training: images that optimize trained on; test: the test split, both on the device. found: the
    derived network. all_epochs: how many epochs of optimize take the passes of all phases. points:
    name of what is trained -> its resume points. backbone: see ReferenceParams.
    """

    training: Images
    test: Images
    classes: int
    found: Network
    optimize: OptimizeParams
    recipe: TrainingParams
    augmentation: AugmentationParams
    seed: int
    all_epochs: int
    points: Callable[[str], Points]
    backbone: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How a reference did.

    predicted: (N,) classes of the test images. parameters, epochs: of a network, and its training.
    """

    predicted: NDArray[np.int64]
    parameters: int | None = None
    epochs: int | None = None


@dataclass(frozen=True, slots=True)
class Untried:
    """Why a reference was not tried, or could not be."""

    reason: str
