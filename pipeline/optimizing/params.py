"""The `optimize` section."""

from typing import Annotated

from pydantic import Field

from pipeline.harness.section import Fraction
from pipeline.training.schedules import ScheduleParams


class OptimizeParams(ScheduleParams):
    """Training the discrete network to the end."""

    epochs: Annotated[int, Field(ge=1, le=10_000)] = Field(description="epochs of training")
    weight_decay: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="of SGD in this phase; BatchNorm, biases and gates do not decay"
    )
    label_smoothing: Fraction = Field(description="share of the target spread over all classes")
    drop_path: Fraction = Field(
        description="probability, reached at the end, that an edge is dropped"
    )
    auxiliary_weight: Annotated[float, Field(ge=0, le=1)] = Field(
        description="weight of the loss of a second head after the last reduction; 0: no such head"
    )
    ema_decay: Fraction = Field(
        description="decay per step of the averaged weights, the result; 0: the weights themselves"
    )
    from_scratch: bool = Field(
        description="fresh weights (the DARTS protocol), not those of the supernet"
    )
    use_validation: bool = Field(description="train on the validation images too")
