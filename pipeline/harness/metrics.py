"""The columns of a history: the one list of what is known of an epoch."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of `history.tsv`; docs/metrics.md says what it means.

    shown: form of its value in the line that a stage prints of an epoch; '' leaves it out.
    kept: its value of the last epoch is one of the stage's metrics, where the phase has it.
    of: phases whose every row has it: all, those that train a supernet, or '' for some rows.
    is_word: it holds a word, not a number.
    """

    name: str
    shown: str = ""
    kept: bool = False
    of: Literal["all", "supernet", ""] = ""
    is_word: bool = False


COLUMNS = (
    Column(name="epoch", of="all"),
    Column(name="phase", shown="{}", is_word=True),
    Column(name="train_loss", shown="loss {:.3f}", kept=True, of="all"),
    Column(name="train_accuracy", shown="train {:.1%}", kept=True, of="all"),
    Column(name="validation_loss", kept=True, of="supernet"),
    Column(name="validation_accuracy", shown="validation {:.1%}", kept=True, of="supernet"),
    Column(name="genotype_accuracy", shown="genotype {:.1%}", kept=True, of="supernet"),
    Column(name="temperature", shown="tau {:.2f}", kept=True, of="supernet"),
    Column(name="entropy", shown="entropy {:.2f}", kept=True, of="supernet"),
    Column(name="entropy_fraction", kept=True),
    Column(name="max_weight", shown="max {:.2f}", kept=True, of="supernet"),
    Column(name="share_skip_connect", kept=True),
    Column(name="cells", kept=True, of="supernet"),
    Column(name="channels", kept=True, of="supernet"),
    Column(name="parameters", kept=True, of="supernet"),
    Column(name="event", shown="{}", is_word=True),
    Column(name="recoveries", kept=True, of="all"),
    Column(name="verdict", shown="{}", of="all", is_word=True),
    Column(name="health", of="all"),
)
"""In the order in which they are shown; a history has more, which nobody asks for by name."""


def required(*, supernet: bool) -> list[str]:
    """Return the columns that every row of a phase has."""
    wanted = {"all", "supernet"} if supernet else {"all"}
    return [column.name for column in COLUMNS if column.of in wanted]
