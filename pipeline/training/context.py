"""The data and settings of a phase, and its weight steps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from pipeline.batches.batches import training_batches, training_order
from pipeline.batches.images import Images
from pipeline.batches.params import AugmentationParams
from pipeline.harness.records import Row
from pipeline.training.params import WeightParams
from pipeline.training.schedules import ScheduleParams

Batch = tuple[Tensor, Tensor]
"""(N, C, H, W) images and their (N,) labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One weight step to make. number: its index in the epoch, from 0."""

    number: int
    batch: Batch
    learning_rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The data and settings that stay the same while a phase runs.

    images: training images. slowdown: factor on all learning rates, below 1 after recoveries.
    """

    images: Images
    classes: int
    training: WeightParams
    augmentation: AugmentationParams
    seed: int
    slowdown: float = 1.0

    @property
    def channels(self) -> int:
        """Channels of an image: 1 for grey, 3 for color."""
        return self.images.pixels.shape[1]

    def batches(self, images: Images, purpose: tuple[str | int, ...]) -> Iterator[Batch]:
        """Yield every image once, shuffled and augmented; equal purposes give equal batches."""
        return training_batches(
            images,
            batch_size=self.training.batch_size,
            augmentation=self.augmentation,
            seed=self.seed,
            purpose=purpose,
        )

    def steps(self, epoch: "Epoch") -> Iterator[Step]:
        """Yield the weight steps of an epoch, each with its learning rate."""
        seen = 0
        for number, batch in enumerate(self.batches(self.images, epoch.purpose)):
            rate = epoch.schedule.rate(
                epochs=epoch.epochs, done=epoch.done + seen / len(self.images), losses=epoch.losses
            )
            seen += len(batch[1])
            yield Step(number=number, batch=batch, learning_rate=self.slowdown * rate)

    def order(self, epoch: "Epoch") -> Sequence[Tensor]:
        """Return the indices of the images of each step of an epoch."""
        return training_order(
            self.images,
            batch_size=self.training.batch_size,
            seed=self.seed,
            purpose=epoch.purpose,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """An epoch of a phase.

    number: its number, from 1 at the start of warmup. done: earlier epochs of the phase. epochs:
    all epochs of the phase. losses: mean training loss (nats) of each earlier epoch of the phase.
    """

    phase: str
    number: int
    done: int
    epochs: int
    schedule: ScheduleParams
    losses: Sequence[float]

    @property
    def purpose(self) -> tuple[str, int]:
        """What the randomness of its batches is for."""
        return self.phase, self.number

    @property
    def left(self) -> float:
        """Fraction of the phase that is left when this epoch begins, in (0, 1]."""
        return 1 - self.done / self.epochs


def losses_of(rows: Sequence[Row]) -> list[float]:
    """Return the mean training loss of each epoch."""
    return [float(row["train_loss"]) for row in rows]
