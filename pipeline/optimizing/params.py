"""The `optimize` section."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from pipeline.harness.section import Fraction, LocalPath
from pipeline.training.schedules import HighestRate, LastRate, RisingEpochs, ScheduleParams

LEAST_ALPHA = 0.01
"""Smallest Beta parameter; of smaller ones the draws underflow, and mix images half and half."""


def _drawable(alpha: float) -> float:
    if 0 < alpha < LEAST_ALPHA:
        raise ValueError(f"expected 0, or at least {LEAST_ALPHA}, got {alpha}")
    return alpha


MixAlpha = Annotated[float, Field(ge=0, le=10), AfterValidator(_drawable)]


class OptimizeParams(ScheduleParams):
    """Training of the discrete network to the end."""

    learning_rate: HighestRate = 0.15
    learning_rate_end: LastRate = 0.0
    rising_epochs: RisingEpochs = 1.0
    epochs: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=30, description="epochs of training"
    )
    weight_decay: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=5e-4, description="weight decay of SGD; BatchNorm, biases and gates do not decay"
    )
    label_smoothing: Fraction = Field(
        default=0.1, description="share of the target spread over all classes"
    )
    balance: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0,
        description="how much more images of rare classes weigh in the loss; 0: off; 1: all"
        " classes weigh the same; an image of a class of n weighs n ** -balance, scaled to a mean"
        " of 1 over the images",
    )
    mixup: MixAlpha = Field(
        default=0.0,
        description="Beta parameter of the shares in which two images are blended; 0: off; 0.2 to 1"
        " are usual (Zhang et al. 2018); train_accuracy then counts the class of the larger share",
    )
    cutmix: MixAlpha = Field(
        default=0.0,
        description="Beta parameter of the shares where a part of another image is pasted; 0: off;"
        " 1 is usual (Yun et al. 2019); with mixup too, each image is mixed in one of the two ways",
    )
    drop_path: Fraction = Field(
        default=0.0,
        description="probability that an edge is dropped; rises linearly from 0 to this",
    )
    auxiliary_weight: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0,
        description="weight of the loss of a second head after the last reduction; 0: no head",
    )
    ema_decay: Fraction = Field(
        default=0.0,
        description="decay per step of the averaged weights, which are the result; 0: no averaging",
    )
    from_scratch: bool = Field(
        default=False, description="fresh weights (the DARTS protocol) instead of the supernet's"
    )
    teacher: LocalPath | None = Field(
        default=None,
        description="exported ONNX classifier whose answers are learnt beside the labels; null:"
        " none; same classes in the same order, same image size (or export.any_size), trained"
        " without this run's test images; a changed file does not cause a rerun, another name does",
    )
    use_validation: bool = Field(
        default=True,
        description="train on the validation images too; probabilities are then not calibrated",
    )
    patience: Annotated[int, Field(ge=0, le=10_000)] = Field(
        default=0,
        description="epochs without a better validation accuracy after which training ends; 0: off;"
        " else the result is that of the best epoch; the rate still falls over `epochs`; needs"
        " use_validation false",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.patience and self.use_validation:
            raise ValueError(
                f"patience: {self.patience} epochs, but no validation images are held out; expected"
                " 0, or use_validation false"
            )
        return self

    @property
    def through(self) -> Literal["train", "validation"]:
        """Last of the splits that the network is trained on."""
        return "validation" if self.use_validation else "train"

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that training reads beside artifacts, for the names of resume points."""
        return () if self.teacher is None else (Path(self.teacher),)
