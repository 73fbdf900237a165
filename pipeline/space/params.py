"""The `network` section: what the search may build."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.section import Section

OperationName = Literal[
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
    "sep_conv_7x7",
    "conv_7x1_1x7",
    "conv_1x1",
    "conv_3x3",
]
Logit = Annotated[float, Field(ge=-100, le=100)]


class NetworkParams(Section):
    """The supernet that search starts from."""

    space: Literal["darts"] = Field(description="search space: cells as in Liu et al. 2019")
    operations: tuple[OperationName, ...] = Field(
        description="candidates on every edge; none and skip_connect must be there"
    )
    cells: Annotated[int, Field(ge=3, le=64)] = Field(
        description="cells at the start; those at 1/3 and 2/3 halve the size, double the channels"
    )
    nodes: Annotated[int, Field(ge=1, le=8)] = Field(description="intermediate nodes of a cell")
    channels: Annotated[int, Field(ge=4, le=1024, multiple_of=2)] = Field(
        description="channels of a node in the first cells"
    )
    stem_multiplier: Annotated[int, Field(ge=1, le=8)] = Field(
        description="channels of the stem, as a multiple of `channels`"
    )
    edges_per_node: Annotated[int, Field(ge=1, le=8)] = Field(
        description="incoming edges that a node keeps in the found network"
    )
    share_logits: bool = Field(
        description="one architecture for all normal and one for all reduction cells"
    )
    initial_none: Logit = Field(
        description="initial logit of none: low, so that no edge starts cut off"
    )
    initial_skip: Logit = Field(description="initial logit of skip_connect")
    initial_noise: Annotated[float, Field(ge=0, le=100)] = Field(
        description="standard deviation of the noise on the initial logits"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.operations)) < len(self.operations):
            raise ValueError("operations: each may stand only once")
        for needed in ("none", "skip_connect"):
            if needed not in self.operations:
                raise ValueError(f"operations: {needed} must be among them")
        return self
