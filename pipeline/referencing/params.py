"""The `reference` section: what the found network is compared with."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.harness.section import Section

KindName = Literal[
    "majority",
    "logistic_regression",
    "nearest_neighbour",
    "svc",
    "frozen_features",
    "resnet",
    "resnet_all_passes",
    "random_architecture",
    "random_architecture_all_passes",
]

TRAINED: tuple[KindName, ...] = (
    "resnet",
    "resnet_all_passes",
    "random_architecture",
    "random_architecture_all_passes",
)
"""References that are networks, trained for as many epochs as optimize or more."""

ALL_PASSES = "_all_passes"
"""Ending of references that are trained for as many passes as all phases made."""


class PassesParams(Section):
    """The number of passes over images of a phase; `epochs` is that of the phase's section."""

    epochs: int


class SearchPassesParams(PassesParams):
    """The number of passes over images of search, with keys of its section."""

    arch_update_freq: int
    arch_gradient: str
    arch_paths: int
    finalists: int
    finalist_epochs: int


class ReferenceParams(Section):
    """Alternatives to the found network, trained and tested on the same images."""

    kinds: tuple[KindName, ...] = Field(
        default=(
            "majority",
            "logistic_regression",
            "nearest_neighbour",
            "svc",
            "resnet",
            "resnet_all_passes",
            "random_architecture",
        ),
        description="what the found network is compared with; []: nothing; majority: the most"
        " frequent class; logistic_regression, nearest_neighbour, svc: scikit-learn's on pixels;"
        " frozen_features: logistic regression on the features of `backbone`; resnet,"
        " random_architecture: a ResNet-20 or a random architecture of the space, with as many"
        " parameters as the found network, trained as in optimize for its epochs; with"
        " _all_passes: for as many passes over images as all phases made",
    )
    backbone: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        description="for frozen_features: a network of torchvision, such as resnet18; null: none;"
        " its pretrained weights are in torchvision's cache or in a file named after a colon"
        " (resnet18:weights.pth); nothing is downloaded; a changed file does not cause a rerun",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.kinds)) < len(self.kinds):
            raise ValueError("kinds: each may appear only once")
        if "frozen_features" in self.kinds and self.backbone is None:
            raise ValueError("backbone: frozen_features needs one, such as resnet18")
        return self
