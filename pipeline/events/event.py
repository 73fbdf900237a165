"""A growth of the network, as growth records it and the report shows it."""

import json
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter

from pipeline.harness.stored import STRICT, Amount, Count, Share

Kind = Literal["deepen", "widen", "node", "mutate"]
Verdict = Literal["settling", "accepted", "rolled back", "refused"]


@dataclass(slots=True, kw_only=True)
class Event:
    """One growth, or one mutation, after which the network has the size that it had.

    epoch: epoch after which the network changed. nodes: of each cell. mutated: number of edges
    whose logits began anew. accuracy_before, accuracy_after: means over `settle` epochs, fractions
    of 1. max_difference: largest difference of logits, None if memory ran out.
    """

    __pydantic_config__ = STRICT

    epoch: Count
    kind: Kind
    cells_before: Count
    cells: Count
    channels_before: Count
    channels: Count
    nodes_before: Count
    nodes: Count
    parameters_before: Count
    parameters: Count
    mutated: Count
    max_difference: Amount | None
    verdict: Verdict = "settling"
    accuracy_before: Share = 0.0
    accuracy_after: Share = 0.0

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

    def __str__(self) -> str:
        """Return what came of it, such as 'deepen (4 cells) accepted: accuracy 50.0% to 51.2%'."""
        told = f"{self.kind} ({self.what}) {self.verdict}"
        if self.verdict not in ("accepted", "rolled back"):
            return told
        return f"{told}: accuracy {self.accuracy_before:.1%} to {self.accuracy_after:.1%}"


EVENTS = TypeAdapter(list[Event])


def read_events(documents: Any) -> list[Event]:
    """Return the growths of a list of JSON objects; raise ValueError if it is no such list."""
    # Only from JSON is an object strictly an Event.
    return EVENTS.validate_json(json.dumps(documents))
