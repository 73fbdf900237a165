"""The `search` section."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.training.params import Rate
from pipeline.training.schedules import ScheduleParams


class SearchParams(ScheduleParams):
    """Weights and architecture alternate, the temperature falls."""

    epochs: Annotated[int, Field(ge=1, le=10_000)] = Field(description="epochs of search")
    arch_update_freq: Annotated[int, Field(ge=2, le=1000)] = Field(
        description="every n-th step fits the architecture on validation images, the others weights"
    )
    sampling: Literal["hard", "soft"] = Field(
        description="hard: one sampled operation per edge; soft: the mixture (slower)"
    )
    arch_gradient: Literal["gate", "straight_through", "reinmax", "score"] = Field(
        description="what the logits learn by where sampling is hard. gate: the sampled operation's"
        " gradient (GDAS); straight_through, reinmax: every candidate's (slower); score: the losses"
        " of arch_paths paths, compared"
    )
    arch_paths: Annotated[int, Field(ge=1, le=64)] = Field(
        description="paths that an architecture step samples; at least 2 for score"
    )
    arch_images: Literal["validation", "training"] = Field(
        description="split that the architecture learns from"
    )
    beta_decay: Annotated[float, Field(ge=0, le=1000)] = Field(
        description="weight, reached when search ends, of the logits' log-sum-exp, a mean over"
        " edges, in the architecture's loss; rises evenly from 0; 0: off (Ye et al. 2022)"
    )
    stop_skips: Annotated[int, Field(ge=1)] | None = Field(
        description="the architecture stays as it is once the genotype of a cell has this many skip"
        " connections (Liang et al. 2019); null: never"
    )
    stop_operations: Annotated[float, Field(ge=-1, le=1)] | None = Field(
        description="in search the weights of an operation stop learning once their gradients on"
        " training and on held-out images agree less than this: mean cosine of 20 comparisons, one"
        " at each architecture step along whose path it ran; in growth all learn again (OLES; Jiang"
        " et al. 2023); null: never"
    )
    explore: Annotated[float, Field(ge=0, le=1)] = Field(
        description="probability, falling evenly to 0, that an edge of a weight step takes any"
        " operation but none: no operation is judged by weights that have adapted to others"
    )
    arch_learning_rate: Rate | Literal["auto"] = Field(
        description="of the logits, per architecture step; auto: arch_reach / number of such steps"
    )
    arch_reach: Annotated[float, Field(gt=0, le=1000)] = Field(
        description="for auto: how far a logit moves in search if all steps go the same way"
    )
    temperature: Annotated[float, Field(gt=0, le=100)] = Field(
        description="of Gumbel-softmax at the start; no hard draw depends on it, only gradients and"
        " mixtures do: with arch_gradient score it changes nothing"
    )
    temperature_end: Annotated[float, Field(gt=0, le=100)] = Field(
        description="the lowest temperature"
    )
    temperature_floor: Annotated[float, Field(ge=0, le=100)] = Field(
        description="search samples at no less than this, while the temperature falls on; 0: off"
    )
    anneal_rate: Annotated[float, Field(gt=0, le=1)] | Literal["auto"] = Field(
        description="factor per architecture step; auto: reach temperature_end at the end of search"
    )
    transition_noise: Annotated[float, Field(ge=0, le=100)] = Field(
        description="standard deviation of the noise on the logits when search begins"
    )
    sharpen: Annotated[float, Field(ge=0, le=100)] = Field(
        description="added once, when search begins, to the three strongest operations but none"
        " of an edge whose largest weight is below 0.4; 0: off"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.arch_gradient == "score" and self.arch_paths < 2:
            raise ValueError(f"arch_paths: score compares at least 2, got {self.arch_paths}")
        if self.sampling == "soft" and self.explore:
            raise ValueError("explore: expected 0 where sampling is soft, which runs everything")
        if self.stop_operations is not None and self.arch_images == "training":
            raise ValueError(
                "stop_operations: expected null where arch_images is training; it compares training"
                " images with held-out ones"
            )
        if self.temperature_end > self.temperature:
            raise ValueError(
                f"temperature_end: {self.temperature_end} is above temperature {self.temperature}"
            )
        return self
