"""What the values may be that one stage writes into a document and another reads.

Params have kinds of their own (`section.py`): what a person writes is checked for other mistakes.
"""

from typing import Annotated

from pydantic import ConfigDict, Field

STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
"""No other fields, no conversion, no infinity: what a digest covers may still be of no stage."""
Count = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(ge=1)]
Amount = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
"""An accuracy, a probability, or another part of 1."""
Change = Annotated[float, Field(ge=-1, le=1)]
"""A difference of two shares."""
