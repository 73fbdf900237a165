"""The `search` section."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.training.params import Rate
from pipeline.training.schedules import HighestRate, LastRate, ScheduleParams


class SearchParams(ScheduleParams):
    """Alternating steps of weights and architecture, at a falling temperature."""

    learning_rate: HighestRate = 0.03
    learning_rate_end: LastRate = 0.01
    epochs: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=12, description="epochs of search"
    )
    finalists: Annotated[int, Field(ge=0, le=64)] = Field(
        default=0,
        description="architectures that compete by training at the end of search; 0:"
        " off; drawn from the logits, four times as many, and chosen by the supernet's loss; the"
        " better half stays after each round; in residual a ResNet is one of them",
    )
    finalist_epochs: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=1, description="epochs of each finalist in each round"
    )
    arch_update_freq: Annotated[int, Field(ge=2, le=1000)] = Field(
        default=5,
        description="every n-th step is an architecture step, the others fit the weights",
    )
    sampling: Literal["hard", "likely", "soft"] = Field(
        default="hard",
        description="hard: one sampled operation per edge; likely: weight steps run the most likely"
        " architecture, architecture steps sample; soft: the mixture (slower)",
    )
    arch_gradient: Literal["gate", "straight_through", "reinmax", "score"] = Field(
        default="score",
        description="what the logits learn from if sampling is hard; gate: gradient of the sampled"
        " operation (GDAS); straight_through, reinmax: gradient of every candidate (slower); score:"
        " comparison of the losses of arch_paths paths",
    )
    arch_paths: Annotated[int, Field(ge=1, le=64)] = Field(
        default=2, description="paths that an architecture step samples; at least 2 for score"
    )
    arch_images: Literal["validation", "training"] = Field(
        default="validation", description="split that the architecture learns from"
    )
    beta_decay: Annotated[float, Field(ge=0, le=1000)] = Field(
        default=0.0,
        description="weight of the logits' log-sum-exp (mean over edges) in the architecture loss;"
        " 0: off; rises linearly from 0 to this value during search (Ye et al. 2022)",
    )
    stop_skips: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="skip connections in a cell that end architecture steps; null: never (Liang et"
        " al. 2019); counted by the rule of the space, without network.max_skips",
    )
    stop_operations: Annotated[float, Field(ge=-1, le=1)] | None = Field(
        default=None,
        description="least agreement of an operation's gradients on training and held-out images;"
        " null: off; below it the operation's weights are frozen until growth (OLES, Jiang et al."
        " 2023); agreement is the mean cosine of 20 comparisons, one at each architecture step"
        " whose path ran the operation",
    )
    explore: Annotated[float, Field(ge=0, le=1)] = Field(
        default=1.0,
        description="probability that an edge of a weight step takes any operation but none; falls"
        " linearly to 0; so no operation is judged by weights that have adapted to others",
    )
    arch_learning_rate: Rate | Literal["auto"] = Field(
        default="auto",
        description="learning rate of the logits; auto: arch_reach / number of architecture steps",
    )
    arch_reach: Annotated[float, Field(gt=0, le=1000)] = Field(
        default=14.0,
        description="for auto: distance that a logit moves if all steps of search go the same way",
    )
    temperature: Annotated[float, Field(gt=0, le=100)] = Field(
        default=2.0,
        description="initial temperature of Gumbel-softmax; it changes gradients and mixtures, not"
        " hard draws; no effect with arch_gradient score",
    )
    temperature_end: Annotated[float, Field(gt=0, le=100)] = Field(
        default=0.1, description="lowest temperature"
    )
    temperature_floor: Annotated[float, Field(ge=0, le=100)] = Field(
        default=0.0,
        description="lowest temperature used for sampling, even if the temperature falls below it;"
        " 0: off",
    )
    anneal_rate: Annotated[float, Field(gt=0, le=1)] | Literal["auto"] = Field(
        default="auto",
        description="factor on the temperature per architecture step; auto: reaches temperature_end"
        " when search ends",
    )
    transition_noise: Annotated[float, Field(ge=0, le=100)] = Field(
        default=0.05, description="standard deviation of the noise on the logits when search begins"
    )
    sharpen: Annotated[float, Field(ge=0, le=100)] = Field(
        default=0.0,
        description="added once to the three strongest logits, except none's, of undecided edges;"
        " 0: off; when search begins; undecided: the largest weight is below 0.4",
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
