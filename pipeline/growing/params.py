"""The `growth` section."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from pipeline.events.event import Kind
from pipeline.training.schedules import ScheduleParams


class GrowthParams(ScheduleParams):
    """Searching on, and growing when that no longer helps."""

    epochs: Annotated[int, Field(ge=1, le=10_000)] = Field(description="epochs of growth")
    kinds: tuple[Kind, ...] = Field(
        description="how the network may grow; they take turns in this order; []: it does not"
    )
    patience: Annotated[int, Field(ge=1)] = Field(
        description="epochs over which accuracy must have improved, or the network grows"
    )
    min_improvement: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="improvement of validation accuracy (a fraction of 1) that puts growth off"
    )
    settle: Annotated[int, Field(ge=1)] = Field(
        description="epochs after a growth at which it is accepted or rolled back"
    )
    tolerance: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="loss of validation accuracy (a fraction of 1) that rolls a growth back"
    )
    widen_factor: Annotated[float, Field(gt=1, le=4)] = Field(
        description="channels after / before widening"
    )
    max_cells: Annotated[int, Field(ge=3, le=256)] = Field(description="budget: cells")
    max_channels: Annotated[int, Field(ge=4, le=4096)] = Field(
        description="budget: channels of a node in the first cell"
    )
    max_params: Annotated[int, Field(gt=0)] = Field(
        description="budget: parameters of the discrete network that would be derived"
    )
    max_mflops: Annotated[float, Field(gt=0)] | None = Field(
        description="budget: million multiply-adds per image of that network; null: none"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.kinds)) < len(self.kinds):
            raise ValueError("kinds: each may stand only once")
        return self
