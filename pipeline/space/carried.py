"""The facts that a checkpoint carries beside its network, and what each may be.

A digest says that a file is as it was written, not by which program.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.prepared.facts import Split

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0)]
STRICT = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")


class OfClass(BaseModel):
    """What derive measured of a class."""

    model_config = STRICT

    precision: Fraction
    recall: Fraction
    f1: Fraction


class Measures(BaseModel):
    """What derive measured; docs/metrics.md explains each."""

    model_config = STRICT

    test_accuracy: Fraction
    test_accuracy_low: Fraction
    test_accuracy_high: Fraction
    test_top5_accuracy: Fraction | None = None
    test_precision: Fraction
    test_recall: Fraction
    test_f1: Fraction
    test_loss: Amount
    accuracy_by_class: dict[str, Fraction]
    measures_by_class: dict[str, OfClass]
    test_calibration_error: Fraction
    test_calibration_error_before: Fraction | None = None
    temperature: Annotated[float, Field(gt=0)] | None = None
    unsure_below: Fraction | None = None
    test_images: Annotated[int, Field(ge=1)]
    parameters: Annotated[int, Field(ge=1)]
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
    temperature: Annotated[float, Field(gt=0)] | None = None
    validation_accuracy: Fraction | None = None
    trained_on: Annotated[list[Split], Field(min_length=1)] | None = None
    metrics: Measures | None = None


def require_carried(facts: Mapping[str, Any]) -> None:
    """Raise ValueError unless the facts are such as a stage writes."""
    given = Carried.model_validate(facts)
    absent = [name for name in facts if getattr(given, name) is None]
    if absent:
        raise ValueError(f"{absent[0]} is null")
