"""The `network` section: the supernet, and what the found network keeps of it."""

from typing import Annotated, Literal, Self

from pydantic import Field, WithJsonSchema, field_validator, model_validator

from pipeline.harness.section import Section
from pipeline.space.registry import SPACES
from pipeline.space.space import Space

SpaceName = Annotated[str, WithJsonSchema({"type": "string", "enum": list(SPACES)})]
OperationName = Annotated[
    str,
    WithJsonSchema(
        {
            "type": "string",
            "enum": list(dict.fromkeys(name for one in SPACES.values() for name in one.names)),
        }
    ),
]
FEWEST = 2
"""Smallest number of candidates on an edge."""
MOST_NODES = 8
"""Largest number of nodes in a cell; edges grow with its square."""
LARGEST_INPUT = 40
"""Largest side in pixels of the first cell's input where the stem is `auto`."""
Logit = Annotated[float, Field(ge=-100, le=100)]


class SupernetParams(Section):
    """The supernet that search starts from."""

    space: SpaceName = Field(
        default="darts",
        description="search space: darts (Liu et al. 2019); nasbench201 (Dong & Yang 2020);"
        " residual: a chain of layers that decide one by one, as in ResNets and MobileNets",
    )
    operations: tuple[OperationName, ...] = Field(
        default=(
            "none",
            "max_pool_3x3",
            "avg_pool_3x3",
            "skip_connect",
            "sep_conv_3x3",
            "sep_conv_5x5",
            "dil_conv_3x3",
            "dil_conv_5x5",
        ),
        description="candidate operations on every edge; none, if the space has it, and"
        " skip_connect are required",
    )
    cells: Annotated[int, Field(ge=3, le=64)] = Field(
        default=3,
        description="cells at the start; those at 1/3 and 2/3 halve the size, double the channels;"
        " in nasbench201 3 times its N, without the residual blocks between them; in residual"
        " layers, 9 as in ResNet-20",
    )
    nodes: Annotated[int, Field(ge=1, le=MOST_NODES)] = Field(
        default=2,
        description="nodes of a cell besides its inputs; 3 in nasbench201, 1 in residual",
    )
    channels: Annotated[int, Field(ge=4, le=1024, multiple_of=2)] = Field(
        default=16, description="channels of a node in the first cells"
    )
    stem_multiplier: Annotated[int, Field(ge=1, le=8)] = Field(
        default=3,
        description="channels of the stem, as a multiple of `channels`; 1 in nasbench201"
        " and residual",
    )
    stem: Literal["auto", 1, 2, 4, 8] = Field(
        default="auto",
        description="how many times smaller than the images the first cell's input is; auto: as"
        f" often halved as leaves at most {LARGEST_INPUT} pixels a side, 1 for images of 32 pixels",
    )
    share_logits: bool = Field(
        default=True,
        description="one architecture for all normal and one for all reduction cells;"
        " in nasbench201 one for all cells; in residual false: each layer decides for itself",
    )
    initial_none: Logit = Field(
        default=-2.0, description="initial logit of none: low, so that no edge starts cut off"
    )
    initial_skip: Logit = Field(default=0.0, description="initial logit of skip_connect")
    initial_noise: Annotated[float, Field(ge=0, le=100)] = Field(
        default=0.5, description="standard deviation of the noise on the initial logits"
    )

    @field_validator("stem", mode="before")
    @classmethod
    def _check_stem(cls, stem: object) -> object:
        # True is 1 to Python, but not in params.yaml.
        return str(stem).lower() if isinstance(stem, bool) else stem

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.space not in SPACES:
            *others, last = map(repr, SPACES)
            raise ValueError(f"space: expected {', '.join(others)} or {last}, got {self.space!r}")
        space = SPACES[self.space]
        self._check_operations(space)
        for key, expected in space.fixed.items():
            if (found := getattr(self, key, expected)) != expected:
                raise ValueError(f"{key}: expected {expected} in {self.space}, got {found}")
        if self.cells % space.cells_multiple_of:
            raise ValueError(
                f"cells: expected a multiple of {space.cells_multiple_of} in {self.space}, for as"
                f" many at each resolution, got {self.cells}"
            )
        return self

    def _check_operations(self, space: Space) -> None:
        if len(set(self.operations)) < len(self.operations):
            raise ValueError("operations: each may appear only once")
        for needed in space.required:
            if needed not in self.operations:
                raise ValueError(f"operations: {needed} must be among them")
        if len(self.operations) < FEWEST:
            raise ValueError(f"operations: a choice needs at least {FEWEST}")
        for name in self.operations:
            if name not in space.names:
                known = ", ".join(space.names)
                raise ValueError(f"operations: {self.space} has no {name}; it has {known}")


class GenotypeParams(Section):
    """What the found network keeps of the searched supernet."""

    edges_per_node: Annotated[int, Field(ge=1, le=8)] = Field(
        default=2,
        description="incoming edges that a node keeps in the found network; all 3 in nasbench201,"
        " 1 in residual",
    )
    max_skips: Annotated[int, Field(ge=0)] | None = Field(
        default=None,
        description="skip connections that a found cell may keep; null: any number; the next best"
        " operation replaces the weakest ones above the limit",
    )


class NetworkParams(GenotypeParams, SupernetParams):
    """The supernet that search starts from, and what the found network keeps of it."""

    @model_validator(mode="after")
    def _check_limit(self) -> Self:
        required = SPACES[self.space].required
        if self.max_skips is not None and len(self.operations) == len(required):
            named = " and ".join(required)
            raise ValueError(f"max_skips: a limit needs operations besides {named}")
        return self
