"""What every reference is given, and what it gives back."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.batches.images import Images
from pipeline.harness.section import Section
from pipeline.optimizing.params import OptimizeParams
from pipeline.space.network import Network
from pipeline.space.params import GenotypeParams
from pipeline.training.context import Context
from pipeline.training.resume import Points, resume_points


@dataclass(frozen=True, slots=True)
class PointsByName:
    """The resume points of each reference that is trained, by its name."""

    params: Section
    inputs: tuple[Path, ...]
    made: list[Points] = field(default_factory=list)

    def __call__(self, name: str) -> Points:
        """Return the points of one."""
        self.made.append(resume_points(f"reference-{name}", self.params, *self.inputs))
        return self.made[-1]

    def remove(self) -> None:
        """Remove them all: the stage has succeeded."""
        for one in self.made:
            one.remove()


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """The images and the network that the references are measured against.

    context: of a training, with the images that optimize trained on. test: the test split, on the
    device. found: the derived network. rules: by which it was decided. all_epochs: how many epochs
    of optimize take the passes of all phases. points: name of what is trained -> its resume points.
    backbone: see ReferenceParams.
    """

    context: Context
    test: Images
    found: Network
    rules: GenotypeParams
    optimize: OptimizeParams
    all_epochs: int
    points: Callable[[str], Points]
    backbone: str | None

    @property
    def training(self) -> Images:
        """The images that optimize trained on, on the device."""
        return self.context.images

    @property
    def classes(self) -> int:
        """How many there are."""
        return self.context.classes


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
