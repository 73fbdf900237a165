"""The facts that a checkpoint carries beside its network, and what each may be.

A digest says that a file is as it was written, not by which program.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, model_validator

from pipeline.harness.stored import STRICT, Amount, Count, Positive, Share, Size
from pipeline.prepared.facts import Split


class OfClass(BaseModel):
    """What derive measured of a class."""

    model_config = STRICT

    precision: Share
    recall: Share
    f1: Share


class Measures(BaseModel):
    """What derive measured; docs/metrics.md explains each."""

    model_config = STRICT

    test_accuracy: Share
    test_accuracy_low: Share
    test_accuracy_high: Share
    test_top5_accuracy: Share | None = None
    test_precision: Share
    test_recall: Share
    test_f1: Share
    test_loss: Amount
    accuracy_by_class: dict[str, Share]
    measures_by_class: dict[str, OfClass]
    test_calibration_error: Share
    test_calibration_error_before: Share | None = None
    temperature: Positive | None = None
    unsure_below: Share | None = None
    test_images: Size
    parameters: Size
    mflops: Amount

    @model_validator(mode="after")
    def _require_agreement(self) -> Self:
        if (self.temperature is None) != (self.test_calibration_error_before is None):
            raise ValueError("a temperature comes with the calibration error before it")
        return self


class Carried(BaseModel):
    """All facts; each stage writes some of them."""

    model_config = STRICT

    stage: str | None = None
    epoch: Count | None = None
    temperature: Positive | None = None
    validation_accuracy: Share | None = None
    trained_on: Annotated[list[Split], Field(min_length=1)] | None = None
    metrics: Measures | None = None


def require_carried(facts: Mapping[str, Any]) -> None:
    """Raise ValueError unless the facts are such as a stage writes."""
    given = Carried.model_validate(facts)
    absent = [name for name in facts if getattr(given, name) is None]
    if absent:
        raise ValueError(f"{absent[0]} is null")
