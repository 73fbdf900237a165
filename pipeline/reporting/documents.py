"""What the report takes from JSON files of other stages, and what each number may be."""

from typing import Any

from pydantic import BaseModel, ConfigDict, RootModel

from pipeline.events.event import Event
from pipeline.harness.stored import STRICT, Amount, Change, Count, Share, Size

WITH_MORE = ConfigDict(**{**STRICT, "extra": "allow"})
"""What the report does not take may be anything."""


class Defaults(RootModel[dict[str, Any]]):
    """The defaults of all params: section -> key -> value, or name -> value."""


class Growths(BaseModel):
    """The growths of `growth.json`."""

    model_config = WITH_MORE

    events: list[Event]


class FinalistRow(BaseModel):
    """An epoch of a finalist."""

    model_config = WITH_MORE

    finalist: Count
    image_passes: Size
    validation_accuracy: Share
    parameters: Size


class FailedFinalist(BaseModel):
    """A finalist that left because an operation failed."""

    model_config = WITH_MORE

    finalist: Count
    reason: str


class Finals(BaseModel):
    """The finals of `finalists.json`."""

    model_config = WITH_MORE

    winner: Count | None
    epochs: list[FinalistRow]
    failed: list[FailedFinalist] = []


class SearchMetrics(BaseModel):
    """The metrics of search."""

    model_config = WITH_MORE

    drop_at_start: Change


class ExportMetrics(BaseModel):
    """The metrics of export. target: what was asked of a cost, and what came."""

    model_config = WITH_MORE

    max_difference: Amount
    agreement: Share
    onnx_bytes: Size
    target: dict[str, "Asked"] = {}


class Asked(BaseModel):
    """The target of a cost, its estimate and its measurement."""

    model_config = WITH_MORE

    asked: Amount
    estimated: Amount
    measured: Amount | None = None
