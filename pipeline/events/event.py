"""A growth of the network, as growth records it and the report shows it."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["deepen", "widen"]


@dataclass(slots=True, kw_only=True)
class Event:
    """One growth.

    epoch: epoch after which the network grew. accuracy_before, accuracy_after: means over `settle`
    epochs, fractions of 1. max_difference: largest difference of logits, None if memory ran out.
    """

    epoch: int
    kind: Kind
    cells_before: int
    cells: int
    channels_before: int
    channels: int
    parameters_before: int
    parameters: int
    max_difference: float | None
    verdict: str = "settling"
    accuracy_before: float = 0.0
    accuracy_after: float = 0.0

    @property
    def what(self) -> str:
        """Return the new size in two words: '4 cells' or '24 channels'."""
        return f"{self.cells} cells" if self.kind == "deepen" else f"{self.channels} channels"
