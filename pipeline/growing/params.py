"""The `growth` section."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from pipeline.events.event import Kind
from pipeline.space.params import MOST_NODES
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
        description="how the network may change; kinds take turns in this order; []: not at all;"
        " deepen: one more cell; widen: more channels; node: one more node in each cell, where the"
        " space leaves their number open; mutate: the logits of some edges begin anew, at the same"
        " size",
    )
    explore: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0,
        description="how far each accepted change, and a plateau without one, reopens the search;"
        " 0: not at all; logits return to uniform by this part, and edges of weight steps explore"
        " with this probability; it is halved by each epoch that improves, grows by a twentieth in"
        " others, and is 0 in the last `settle` epochs",
    )
    mutation_strength: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.5, description="part of the edges whose logits begin anew in a mutation"
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
    max_nodes: Annotated[int, Field(ge=1, le=MOST_NODES)] = Field(
        default=4, description="most nodes of a cell, if kinds has node"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.kinds)) < len(self.kinds):
            raise ValueError("kinds: each may appear only once")
        return self
