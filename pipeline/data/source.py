"""A data set as it comes, before it is split."""

from dataclasses import dataclass

from pipeline.prepared.labelled import Labelled


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A data set as it comes. test: None where it has no test split of its own."""

    name: str
    classes: tuple[str, ...]
    train: Labelled
    test: Labelled | None
