"""Every reference by its name in `reference.kinds`."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from pipeline.referencing.frozen import frozen_features
from pipeline.referencing.params import KindName
from pipeline.referencing.pixels import (
    logistic_regression,
    majority,
    nearest_neighbour,
    support_vectors,
)
from pipeline.referencing.problem import Answer, Problem, Untried
from pipeline.referencing.trained import random_architecture, resnet


@dataclass(frozen=True, slots=True)
class Kind:
    """A reference. title: its name for people. answer: function that trains and tests it."""

    title: str
    answer: Callable[[Problem], Answer | Untried]


KINDS: dict[KindName, Kind] = {
    "majority": Kind("the most frequent class", majority),
    "logistic_regression": Kind("logistic regression on pixels", logistic_regression),
    "nearest_neighbour": Kind("nearest neighbour on pixels", nearest_neighbour),
    "svc": Kind("SVC on pixels", support_vectors),
    "frozen_features": Kind("logistic regression on pretrained features", frozen_features),
    "resnet": Kind("ResNet-20 of equal size", resnet),
    "resnet_all_passes": Kind(
        "ResNet-20 of equal size, all passes", partial(resnet, all_passes=True)
    ),
    "random_architecture": Kind("random architecture of equal size", random_architecture),
    "random_architecture_all_passes": Kind(
        "random architecture of equal size, all passes",
        partial(random_architecture, all_passes=True),
    ),
}
