"""A growth of the network, as growth records it and the report tells it."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["deepen", "widen"]


@dataclass(slots=True, kw_only=True)
class Event:
    """One growth.

    epoch: after which it came. Accuracies are means over `settle` epochs, fractions of 1;
    max_difference is of logits, None where memory lacked to build the network.
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
        """Return what came, in two words: '4 cells' or '24 channels'."""
        return f"{self.cells} cells" if self.kind == "deepen" else f"{self.channels} channels"
