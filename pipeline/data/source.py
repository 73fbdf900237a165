"""A data set before it is split."""

from dataclasses import dataclass

from pipeline.prepared.labelled import Labelled


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A data set before it is split. validation, test: splits of its own, or None."""

    name: str
    classes: tuple[str, ...]
    train: Labelled
    validation: Labelled | None = None
    test: Labelled | None
