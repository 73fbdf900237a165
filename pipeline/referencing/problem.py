"""The input of every reference, and its output."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipeline.batches.images import Images
from pipeline.harness.section import Section
from pipeline.optimizing.optimize import Watch
from pipeline.optimizing.params import OptimizeParams
from pipeline.space.network import Network
from pipeline.space.params import GenotypeParams
from pipeline.training.context import Context
from pipeline.training.resume import Points, resume_points


@dataclass(frozen=True, slots=True)
class PointsByName:
    """The resume points of each trained reference, by its name."""

    params: Section
    inputs: tuple[Path, ...]
    made: list[Points] = field(default_factory=list)

    def __call__(self, name: str) -> Points:
        """Return the resume points of the reference `name`."""
        self.made.append(resume_points(f"reference-{name}", self.params, *self.inputs))
        return self.made[-1]

    def remove(self) -> None:
        """Remove all points; call this when the stage has succeeded."""
        for one in self.made:
            one.remove()


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """The images and the network that the references are measured against.

    context: training context, with the images that optimize trained on. test: test split, on the
    device. found: derived network. rules: rules by which it was decided. all_epochs: number of
    epochs of optimize that make as many passes as all phases. points: function from the name of a
    trained reference to its resume points. backbone: see ReferenceParams. watch: evaluation of
    trained references after each epoch, None if optimize has no patience. taught: (N, K) soft
    targets of the training images, which trained references learn too; None without a teacher.
    """

    context: Context
    test: Images
    found: Network
    rules: GenotypeParams
    optimize: OptimizeParams
    all_epochs: int
    points: Callable[[str], Points]
    backbone: str | None
    watch: Watch | None = None
    taught: Tensor | None = None

    @property
    def training(self) -> Images:
        """The images that optimize trained on, on the device."""
        return self.context.images

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.context.classes


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer of a reference.

    predicted: (N,) predicted classes of the test images. parameters: number of parameters of a
    network. epochs: number of epochs that it was trained.
    """

    predicted: NDArray[np.int64]
    parameters: int | None = None
    epochs: int | None = None


@dataclass(frozen=True, slots=True)
class Untried:
    """The reason why a reference was not tried, or failed."""

    reason: str
