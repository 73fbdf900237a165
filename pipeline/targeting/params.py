"""The `target` section."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from pipeline.harness.section import Section


class TargetParams(Section):
    """What the found network may cost; search, growth and finalists keep to it."""

    parameters: Annotated[int, Field(gt=0)] | None = Field(
        default=None, description="most parameters of the found network; null: any number"
    )
    mflops: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="most million multiply-adds per image; null: any number"
    )
    kilobytes: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="largest model.onnx in 1,000 bytes; null: any size; estimated from the layers",
    )

    milliseconds: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="most milliseconds per image in ONNX Runtime on one thread; null: any number;"
        " the sum of those of its parts in latency.json, which 'aso-se latency' measures",
    )

    @property
    def limits(self) -> Mapping[str, float]:
        """The limits that are set, by the name of the cost."""
        return {name: limit for name, limit in self.model_dump().items() if limit is not None}


def refusal(name: str, limit: float, reached: float) -> str:
    """Return the message that a limit of the target cannot be met."""
    shown = f"{reached:,.0f}" if reached >= 1000 else f"{reached:.3g}"
    return (
        f"target.{name}: {limit:,} cannot be met: the smallest network that search starts from has"
        f" {shown}; a smaller network.channels or network.cells costs less"
    )
