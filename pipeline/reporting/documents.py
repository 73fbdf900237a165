"""What the report takes from JSON files of other stages, and what each number may be."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from pipeline.events.event import Count, Event, Fraction

STRICT = ConfigDict(strict=True, allow_inf_nan=False, extra="allow")


class Growths(BaseModel):
    """The growths of `growth.json`."""

    model_config = STRICT

    events: list[Event]


class FinalistRow(BaseModel):
    """An epoch of a finalist."""

    model_config = STRICT

    finalist: Count
    validation_accuracy: Fraction
    parameters: Annotated[int, Field(ge=1)]


class Finals(BaseModel):
    """The finals of `finalists.json`."""

    model_config = STRICT

    winner: Count | None
    epochs: list[FinalistRow]


class SearchMetrics(BaseModel):
    """The metrics of search."""

    model_config = STRICT

    drop_at_start: Annotated[float, Field(ge=-1, le=1)]


class ExportMetrics(BaseModel):
    """The metrics of export. target: what was asked of a cost, and what came."""

    model_config = STRICT

    max_difference: Annotated[float, Field(ge=0)]
    agreement: Fraction
    onnx_bytes: Annotated[int, Field(ge=1)]
    target: dict[str, "Asked"] = {}


class Asked(BaseModel):
    """The target of a cost, its estimate and its measurement."""

    model_config = STRICT

    asked: Annotated[float, Field(ge=0)]
    estimated: Annotated[float, Field(ge=0)]
    measured: Annotated[float, Field(ge=0)] | None = None
