"""The `growth` section."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from pipeline.events.event import Kind
from pipeline.training.schedules import HighestRate, LastRate, ScheduleParams


class GrowthParams(ScheduleParams):
    """Continued search, and growth of the network when accuracy stagnates."""

    learning_rate: HighestRate = 0.02
    learning_rate_end: LastRate = 0.005
    epochs: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=10, description="epochs of growth"
    )
    kinds: tuple[Kind, ...] = Field(
        default=("deepen", "widen"),
        description="how the network may grow; kinds take turns in this order; []: no growth",
    )
    patience: Annotated[int, Field(ge=1)] = Field(
        default=2, description="epochs without enough improvement after which the network grows"
    )
    min_improvement: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.01,
        description="improvement of validation accuracy (a fraction of 1) below which the network"
        " grows",
    )
    settle: Annotated[int, Field(ge=1)] = Field(
        default=2, description="epochs after which a growth is accepted or rolled back"
    )
    tolerance: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.02,
        description="largest loss of validation accuracy (a fraction of 1) of an accepted growth",
    )
    widen_factor: Annotated[float, Field(gt=1, le=4)] = Field(
        default=1.5, description="channels after / before widening"
    )
    max_cells: Annotated[int, Field(ge=3, le=256)] = Field(default=5, description="most cells")
    max_channels: Annotated[int, Field(ge=4, le=4096)] = Field(
        default=24, description="most channels of a node in the first cell"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.kinds)) < len(self.kinds):
            raise ValueError("kinds: each may appear only once")
        return self
