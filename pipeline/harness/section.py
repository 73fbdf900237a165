"""What every section of `params.yaml` has in common."""

from typing import Annotated
from unicodedata import category

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A frozen, strict model: unknown keys are refused, `true` is no number and `"3"` is not 3."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _require_local(path: str) -> str:
    """Return a path; raise ValueError if no program reads a file of this machine by it."""
    if any(category(one) == "Cc" for one in path):
        raise ValueError(f"expected a path without control characters, got {path!r}")
    if path.startswith("~"):
        raise ValueError(f"expected the whole path, as ~ is not expanded, got {path!r}")
    if "://" in path:
        raise ValueError(f"expected a path on this machine, got {path!r}")
    return path


LocalPath = Annotated[str, Field(min_length=1), AfterValidator(_require_local)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
