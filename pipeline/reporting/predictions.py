"""What derive says of single images: its predictions, and which labels it doubts."""

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.harness.errors import ReportError
from pipeline.harness.showing import cell
from pipeline.prepared.facts import SPLITS, DatasetFacts, Split
from pipeline.reporting.files import AGAIN, read_csv, read_table


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The prediction for one test image: classes as indices, probability of the predicted one."""

    actual: int
    predicted: int
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """An image that may be mislabelled: its label and the class that it looks like, as indices."""

    split: Split
    index: int
    label: int
    looks_like: int


def mistakes(predictions: Sequence[Prediction]) -> list[tuple[int, Prediction]]:
    """Return number and prediction of each misclassified test image, by falling probability."""
    wrong = [
        (number, prediction)
        for number, prediction in enumerate(predictions)
        if prediction.actual != prediction.predicted
    ]
    return sorted(wrong, key=lambda pair: -pair[1].probability)


def beside_examples(predictions: Sequence[Prediction]) -> list[tuple[int, int | None]]:
    """Return the number of each misclassified image and that of an example of its class, or None.

    Mistakes are as in `mistakes`. Examples are the correctly classified images of a class, by
    falling probability, each beside one mistake at most.
    """
    surest = sorted(enumerate(predictions), key=lambda pair: -pair[1].probability)
    right: dict[int, deque[int]] = defaultdict(deque)
    for number, one in surest:
        if one.actual == one.predicted:
            right[one.actual].append(number)
    return [
        (number, right[one.actual].popleft() if right[one.actual] else None)
        for number, one in mistakes(predictions)
    ]


def read_predictions(path: Path, classes: Sequence[str], labels: Sequence[int]) -> list[Prediction]:
    """Return the predictions for the test images, in their order.

    labels: those of the test images.

    Raises:
        ReportError: the file is missing, or not of these images.
    """
    index = {cell(name): number for number, name in enumerate(classes)}
    try:
        predictions = [
            Prediction(
                actual=index[line["actual"]],
                predicted=index[line["predicted"]],
                probability=float(line["probability"]),
            )
            for line in read_table(path)
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ReportError(f"{path}: not one prediction per line: {error!r}; {AGAIN}") from None
    if [prediction.actual for prediction in predictions] != list(labels):
        raise ReportError(f"{path}: not of this data set's test images; {AGAIN}")
    return predictions


def read_suspects(path: Path, dataset: DatasetFacts) -> list[Suspect]:
    """Return the images that are most likely mislabelled, the likeliest first.

    Raises:
        ReportError: the file is missing, or not of this data set.
    """
    class_of = {cell(name): number for number, name in enumerate(dataset.classes)}
    split_of: dict[str, Split] = {split: split for split in SPLITS}
    try:
        found = [
            Suspect(
                split=split_of[line["split"]],
                index=int(line["index"]),
                label=class_of[line["label"]],
                looks_like=class_of[line["looks_like"]],
            )
            for line in read_csv(path)
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ReportError(f"{path}: not one image per line: {error!r}; {AGAIN}") from None
    if any(not 0 <= one.index < dataset.images(one.split) for one in found):
        raise ReportError(f"{path}: not of this data set's images; {AGAIN}")
    return found
