"""Whether what a resume point holds is what its phase saves.

Its digest is right and it is of this run; yet a program of another kind may have written it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import is_dataclass
from math import isfinite
from typing import Any, Protocol, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, TypeAdapter

from pipeline.harness.errors import AsoSeError, CheckpointError, reason
from pipeline.harness.lacks import is_lack_of_memory
from pipeline.harness.records import Row
from pipeline.harness.stored import Count, Share, Size
from pipeline.training.resume import Points, Snapshot
from pipeline.training.stability import Verdict


class Counted(Protocol):
    """The state of a phase."""

    @property
    def epoch(self) -> int:
        """Number of the last epoch, as in its row."""


State = TypeVar("State", bound=Counted)


class JudgedRow(BaseModel):
    """What every row has once it was judged."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    epoch: Size
    train_loss: float
    recoveries: Count
    verdict: Verdict
    health: Share


JUDGED = TypeAdapter(list[JudgedRow])
PLAIN = ConfigDict(strict=True, arbitrary_types_allowed=True)


def fitting(
    resumed: Callable[[Snapshot], State], saved: Snapshot, rows: Sequence[Row], points: Points
) -> State:
    """Return `resumed(saved)`, the state of the newest point, after whose rows it follows.

    Raises:
        CheckpointError: the snapshot or the rows are not what a phase saves.
    """
    try:
        epochs = [row.epoch for row in JUDGED.validate_python(rows)]
        state = resumed(saved)
        _require_types(state)
        if epochs != list(range(state.epoch - len(epochs) + 1, state.epoch + 1)):
            raise ValueError(f"epochs {epochs}, the state is of {state.epoch}")  # noqa: TRY301
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, AsoSeError) as error:
        if is_lack_of_memory(error) or type(error).__name__ == "AcceleratorError":
            raise
        raise unfit(points, reason(error)) from None
    return state


def unfit(points: Points, why: str) -> CheckpointError:
    """Return the error that a point is none of its phase."""
    return CheckpointError(
        f"{points.folder}: its newest resume point does not fit {points.stage}; remove it, then run"
        f" it again: {why}"
    )


def _require_types(state: object) -> None:
    """Raise ValueError unless all fields are of their types, and all numbers finite and >= 0."""
    for name, kind in get_type_hints(type(state)).items():
        value = getattr(state, name)
        parts = value if isinstance(value, list) else [value]
        for part in filter(is_dataclass, parts):
            _require_types(part)
        if not any(map(is_dataclass, parts)):
            TypeAdapter(kind, config=PLAIN).validate_python(value)
        _require_natural(name, parts)


def _require_natural(name: str, values: Iterable[Any]) -> None:
    for value in values:
        if isinstance(value, int | float) and not (isfinite(value) and value >= 0):
            raise ValueError(f"{name} is {value}")
