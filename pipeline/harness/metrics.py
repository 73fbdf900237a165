"""The columns of a history: the single list of what is recorded of an epoch."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of `history.tsv`; docs/metrics.md explains each.

    shown: format of the value in the line that a stage prints per epoch; '' leaves it out.
    kept: whether the last epoch's value is a metric of the stage, if the phase has the column.
    of: phases in which every row has it: all, those that train a supernet, those of them that
        search, or '' for none.
    is_word: whether the value is a word, not a number.
    """

    name: str
    shown: str = ""
    kept: bool = False
    of: Literal["all", "supernet", "search", ""] = ""
    is_word: bool = False


COLUMNS = (
    Column(name="epoch", of="all"),
    Column(name="phase", shown="{}", is_word=True),
    Column(name="train_loss", shown="loss {:.3f}", kept=True, of="all"),
    Column(name="train_accuracy", shown="train {:.1%}", kept=True, of="all"),
    Column(name="image_passes", of="all"),
    Column(name="validation_loss", kept=True, of="supernet"),
    Column(name="validation_accuracy", shown="validation {:.1%}", kept=True, of="supernet"),
    Column(name="genotype_accuracy", shown="genotype {:.1%}", kept=True, of="supernet"),
    Column(name="temperature", shown="tau {:.2f}", kept=True, of="supernet"),
    Column(name="entropy", shown="entropy {:.2f}", kept=True, of="supernet"),
    Column(name="entropy_fraction", kept=True),
    Column(name="max_weight", shown="max {:.2f}", kept=True, of="supernet"),
    Column(name="share_skip_connect", kept=True),
    Column(name="undecided_edges", kept=True, of="search"),
    Column(name="genotype_changes", of="search"),
    Column(name="path_diversity", of="search"),
    Column(name="cells", kept=True, of="supernet"),
    Column(name="channels", kept=True, of="supernet"),
    Column(name="parameters", kept=True, of="supernet"),
    Column(name="event", shown="{}", is_word=True),
    Column(name="disabled", shown="disabled {}", is_word=True),
    Column(name="recoveries", kept=True, of="all"),
    Column(name="verdict", shown="{}", of="all", is_word=True),
    Column(name="health", of="all"),
)
"""Columns in the order of display; a history has others, which no code asks for by name."""


Kind = Literal["all", "supernet", "search"]
KINDS: tuple[Kind, ...] = ("all", "supernet", "search")
"""Kinds of phases; each has the columns of those before it."""


def required(kind: Kind) -> list[str]:
    """Return the columns that every row of a phase of a kind has."""
    wanted = KINDS[: KINDS.index(kind) + 1]
    return [column.name for column in COLUMNS if column.of in wanted]
