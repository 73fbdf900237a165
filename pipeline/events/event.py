"""A growth of the network, as growth records it and the report shows it."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["deepen", "widen", "node", "mutate"]


@dataclass(slots=True, kw_only=True)
class Event:
    """One growth, or one mutation, after which the network has the size that it had.

    epoch: epoch after which the network changed. nodes: of each cell. mutated: number of edges
    whose logits began anew. accuracy_before, accuracy_after: means over `settle` epochs, fractions
    of 1. max_difference: largest difference of logits, None if memory ran out.
    """

    epoch: int
    kind: Kind
    cells_before: int
    cells: int
    channels_before: int
    channels: int
    nodes_before: int
    nodes: int
    parameters_before: int
    parameters: int
    mutated: int
    max_difference: float | None
    verdict: str = "settling"
    accuracy_before: float = 0.0
    accuracy_after: float = 0.0

    @property
    def what(self) -> str:
        """Return what is new in two words, such as '4 cells', '24 channels' or '7 edges'."""
        counts = {
            "deepen": f"{self.cells} cells",
            "widen": f"{self.channels} channels",
            "node": f"{self.nodes} nodes",
            "mutate": f"{self.mutated} edges",
        }
        return counts[self.kind]
