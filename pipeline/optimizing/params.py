"""The `optimize` section."""

from typing import Annotated

from pydantic import Field

from pipeline.harness.section import Fraction
from pipeline.training.schedules import HighestRate, LastRate, RisingEpochs, ScheduleParams


class OptimizeParams(ScheduleParams):
    """Training the discrete network to the end."""

    learning_rate: HighestRate = 0.1
    learning_rate_end: LastRate = 0.0
    rising_epochs: RisingEpochs = 1.0
    epochs: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=40, description="epochs of training"
    )
    weight_decay: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=5e-4, description="of SGD in this phase; BatchNorm, biases and gates do not decay"
    )
    label_smoothing: Fraction = Field(
        default=0.1, description="share of the target spread over all classes"
    )
    drop_path: Fraction = Field(
        default=0.0, description="probability, reached at the end, that an edge is dropped"
    )
    auxiliary_weight: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0,
        description="weight of the loss of a second head after the last reduction; 0: no such head",
    )
    ema_decay: Fraction = Field(
        default=0.0,
        description="decay per step of the averaged weights, the result; 0: the weights themselves",
    )
    from_scratch: bool = Field(
        default=False, description="fresh weights (the DARTS protocol), not those of the supernet"
    )
    use_validation: bool = Field(default=True, description="train on the validation images too")
