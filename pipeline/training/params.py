"""The `training` section: how weights are fitted, in every phase alike."""

from typing import Annotated

from pydantic import Field

from pipeline.harness.section import Section

Rate = Annotated[float, Field(gt=0, le=10)]


class WeightParams(Section):
    """What every training of weights has in common."""

    batch_size: Annotated[int, Field(ge=2, le=65536)] = Field(description="images per step")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(description="of SGD")
    gradient_clip: Annotated[float, Field(gt=0)] = Field(
        description="largest norm of the gradient; a longer one is scaled down"
    )
    max_recoveries: Annotated[int, Field(ge=0, le=10)] = Field(
        description="how often a phase that diverges goes back an epoch and halves its rates"
    )


class StatisticsParams(WeightParams):
    """What warmup, search, growth and optimize have in common."""

    evaluation_batch_size: Annotated[int, Field(ge=2, le=65536)] = Field(
        description="images per evaluation step"
    )
    statistics_batches: Annotated[int, Field(ge=1, le=1024)] = Field(
        description="batches of training images from which BatchNorm statistics are re-estimated"
    )


class TrainingParams(StatisticsParams):
    """How weights are fitted; all of it counts for the phases that train a supernet."""

    weight_decay: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="of SGD in warmup, search and growth"
    )
    auxiliary_skip: Annotated[float, Field(ge=0, le=1)] = Field(
        description="weight of an edge's skip connection beside what else it runs, from where"
        " warmup explores; falls evenly in search, gone in growth; 0: off (Chu et al. 2021)"
    )
    sampled_paths: Annotated[int, Field(ge=1, le=64)] = Field(
        description="paths drawn per batch of validation images when a supernet is evaluated"
    )
