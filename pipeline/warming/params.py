"""The `warmup` section."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from pipeline.training.schedules import HighestRate, LastRate, ScheduleParams


class WarmupParams(ScheduleParams):
    """Training of the weights only, first on skip connections, then on more operations."""

    learning_rate: HighestRate = 0.05
    learning_rate_end: LastRate = 0.02
    epochs: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=12, description="epochs of warmup"
    )
    skip_epochs: Annotated[int, Field(ge=0)] = Field(
        default=3, description="first epochs of warmup, with only the skip connection on every edge"
    )
    explore: Annotated[float, Field(ge=0, le=1)] = Field(
        default=1.0, description="highest probability that an edge takes any operation but none"
    )
    ramp_epochs: Annotated[int, Field(ge=1)] = Field(
        default=6,
        description="epochs after the skip-only ones in which that probability rises linearly; all"
        " of them if warmup has fewer",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.skip_epochs > self.epochs:
            raise ValueError(f"skip_epochs: {self.skip_epochs} of {self.epochs} epochs")
        return self
