"""A data set before it is split."""

from dataclasses import dataclass

from pipeline.prepared.labelled import Labelled


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A data set before it is split. test: its own test split, or None."""

    name: str
    classes: tuple[str, ...]
    train: Labelled
    test: Labelled | None
