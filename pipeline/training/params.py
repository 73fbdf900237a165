"""The `training` section: how weights are fitted in all phases."""

from typing import Annotated

from pydantic import Field

from pipeline.harness.section import Section

Rate = Annotated[float, Field(gt=0, le=10)]


class WeightParams(Section):
    """Keys that all training of weights uses."""

    batch_size: Annotated[int, Field(ge=2, le=65536)] = Field(
        default=64, description="images per step"
    )
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.9, description="momentum of SGD"
    )
    gradient_clip: Annotated[float, Field(gt=0)] = Field(
        default=5.0, description="largest norm of the gradient; a longer one is scaled down"
    )
    max_recoveries: Annotated[int, Field(ge=0, le=10)] = Field(
        default=3,
        description="how often a phase that diverges may go back an epoch and halve its rates",
    )


class StatisticsParams(WeightParams):
    """Keys that warmup, search, growth and optimize use."""

    evaluation_batch_size: Annotated[int, Field(ge=2, le=65536)] = Field(
        default=128, description="images per evaluation step"
    )
    statistics_batches: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=4,
        description="batches of training images from which BatchNorm statistics are re-estimated",
    )


class TrainingParams(StatisticsParams):
    """How weights are fitted; the phases that train a supernet use all of these keys."""

    weight_decay: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=3e-4, description="weight decay of SGD in warmup, search and growth"
    )
    auxiliary_skip: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0,
        description="weight of an extra skip connection on each edge; 0: off; applied once warmup"
        " explores, falls linearly to 0 in search, absent in growth (Chu et al. 2021)",
    )
    max_disabled: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=2,
        description="operations that may fail in a run before it stops; 0: stop at the first;"
        " one that raises an error, or turns finite inputs into NaN or infinity, is named and taken"
        " out of the search on that edge",
    )
    sampled_paths: Annotated[int, Field(ge=1, le=64)] = Field(
        default=2,
        description="paths drawn per batch of validation images when a supernet is evaluated",
    )
