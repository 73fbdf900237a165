"""The references of a result, as `reference` writes them and later stages read them.

Accuracies are those on the test images, as fractions of 1.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from pipeline.harness.errors import ReportError, reason
from pipeline.harness.records import write_json
from pipeline.harness.stored import STRICT, Change, Count, Share

Verdict = Literal["better", "worse", "tie"]
AGAIN = "run 'dvc repro --force reference' to write it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A classifier that was tried on the same images.

    low, high: 95 % interval of the accuracy. difference: accuracy of the found network minus this
    one's. p_value: p-value of no difference. verdict: verdict on the found network. parameters:
    number of parameters of a network. epochs: number of epochs that it was trained.
    """

    __pydantic_config__ = STRICT

    name: str
    title: str
    test_accuracy: Share
    low: Share
    high: Share
    difference: Change
    p_value: Share
    verdict: Verdict
    parameters: Count | None = None
    epochs: Count | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A reference that was not tried."""

    __pydantic_config__ = STRICT

    title: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """All references of one run."""

    __pydantic_config__ = STRICT

    compared: tuple[Reference, ...] = ()
    skipped: tuple[Skipped, ...] = ()

    @property
    def best(self) -> Reference | None:
        """The reference with the highest accuracy, the first of equals."""
        return max(self.compared, key=lambda one: one.test_accuracy, default=None)


def sentence(references: References) -> str:
    """Return a sentence on which is better: the found network, the best reference, or neither."""
    best = references.best
    if best is None:
        return "It was compared with nothing."
    named = f"{best.title} ({best.test_accuracy:.1%})"
    points = f"{abs(best.difference) * 100:.1f} points"
    chance = f"p = {best.p_value:.2g}"
    if best.verdict == "better":
        return (
            f"The found network is better than the best reference, {named}: by {points}, {chance}."
        )
    if best.verdict == "worse":
        return (
            f"The best reference, {named}, is better than the found network: by {points}, {chance}."
        )
    return (
        f"It is a tie with the best reference, {named}: the difference of {points} may be chance,"
        f" {chance}."
    )


def write_references(path: Path, references: References) -> None:
    """Write what `read_references` reads."""
    write_json(path, asdict(references))


def read_references(path: Path) -> References:
    """Read the references of a run.

    Raises:
        ReportError: the file is missing, damaged, or of another version.
    """
    try:
        return TypeAdapter(References).validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReportError(f"{path}: cannot be read: {error.strerror}; {AGAIN}") from None
    except ValueError as error:  # pydantic's errors too
        raise ReportError(f"{path}: not a list of references: {reason(error)}; {AGAIN}") from None
