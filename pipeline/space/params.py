"""The `network` section: what the search may build."""

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from pipeline.harness.section import Section

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
Nasbench201OperationName = Literal[
    "none",
    "skip_connect",
    "nor_conv_1x1",
    "nor_conv_3x3",
    "avg_pool_3x3",
]
SpaceName = Literal["darts", "nasbench201"]
CANDIDATES: dict[SpaceName, tuple[str, ...]] = {
    "darts": get_args(OperationName),
    "nasbench201": get_args(Nasbench201OperationName),
}
PUBLISHED = {"nodes": 3, "stem_multiplier": 1, "edges_per_node": 3}
"""What nasbench201 leaves no choice in: its 4 nodes less the input, each with all of its edges."""
Logit = Annotated[float, Field(ge=-100, le=100)]


class NetworkParams(Section):
    """The supernet that search starts from."""

    space: SpaceName = Field(
        description="search space: cells as in Liu et al. 2019 or in Dong & Yang 2020"
    )
    operations: tuple[Literal[OperationName, Nasbench201OperationName], ...] = Field(
        description="candidates of the space on every edge; none and skip_connect must be there"
    )
    cells: Annotated[int, Field(ge=3, le=64)] = Field(
        description="cells at the start; those at 1/3 and 2/3 halve the size, double the channels;"
        " in nasbench201 3 times its N, the residual blocks between them not counted"
    )
    nodes: Annotated[int, Field(ge=1, le=8)] = Field(
        description="nodes of a cell besides its inputs; 3 in nasbench201"
    )
    channels: Annotated[int, Field(ge=4, le=1024, multiple_of=2)] = Field(
        description="channels of a node in the first cells"
    )
    stem_multiplier: Annotated[int, Field(ge=1, le=8)] = Field(
        description="channels of the stem, as a multiple of `channels`; 1 in nasbench201"
    )
    edges_per_node: Annotated[int, Field(ge=1, le=8)] = Field(
        description="incoming edges that a node keeps in the found network; 3, all, in nasbench201"
    )
    max_skips: Annotated[int, Field(ge=0)] | None = Field(
        description="skip connections that a found cell may keep: of more the weakest give way to"
        " the next best operation; null: any number"
    )
    share_logits: bool = Field(
        description="one architecture for all normal and one for all reduction cells;"
        " in nasbench201 one for all"
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
        if self.max_skips is not None and len(self.operations) == 2:
            raise ValueError("max_skips: a limit needs operations besides none and skip_connect")
        for name in self.operations:
            if name not in CANDIDATES[self.space]:
                known = ", ".join(CANDIDATES[self.space])
                raise ValueError(f"operations: {self.space} has no {name}; it has {known}")
        if self.space == "nasbench201":
            self._check_published()
        return self

    def _check_published(self) -> None:
        for key, expected in PUBLISHED.items():
            if (found := getattr(self, key)) != expected:
                raise ValueError(f"{key}: expected {expected} in {self.space}, got {found}")
        if self.cells % 3:
            raise ValueError(
                f"cells: expected a multiple of 3 in {self.space}, for as many at each of three"
                f" resolutions, got {self.cells}"
            )
