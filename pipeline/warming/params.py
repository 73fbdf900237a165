"""The `warmup` section."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from pipeline.training.schedules import ScheduleParams


class WarmupParams(ScheduleParams):
    """Weights only: first along skip connections, then along more and more operations."""

    epochs: Annotated[int, Field(ge=1, le=10_000)] = Field(description="epochs of warmup")
    skip_epochs: Annotated[int, Field(ge=0)] = Field(
        description="of these, with the skip connection fixed on every edge"
    )
    explore: Annotated[float, Field(ge=0, le=1)] = Field(
        description="highest probability that an edge takes any operation but none"
    )
    ramp_epochs: Annotated[int, Field(ge=1)] = Field(
        description="epochs after the skip-only ones in which that probability rises evenly; in all"
        " of them where warmup has fewer"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.skip_epochs > self.epochs:
            raise ValueError(f"skip_epochs: {self.skip_epochs} of {self.epochs} epochs")
        return self
