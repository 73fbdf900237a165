"""Copies across splits are found, told, and by default left out of validation and test."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.duplicates import contradictions, digests, separate
from pipeline.harness.errors import DataError
from pipeline.prepared.labelled import Labelled, Splits
from tests.data.drawing import pixels

CLASSES = ("cat", "dog")


def labelled(*numbers: int, labels: tuple[int, ...] | None = None) -> Labelled:
    """Images of one number each; labels: by default whether the number is odd."""
    images = np.array(numbers, np.uint8).reshape(-1, 1, 1, 1) * np.ones((1, 2, 2, 3), np.uint8)
    found = labels or tuple(number % 2 for number in numbers)
    return Labelled(images=images, labels=np.array(found, np.int64))


def splits(test: Labelled) -> Splits:
    return Splits(train=labelled(0, 1, 2, 3), validation=labelled(4, 5), test=test)


NUMBERS = st.lists(st.integers(0, 20), min_size=1, max_size=8)


@given(NUMBERS, NUMBERS, NUMBERS)
def test_afterwards_no_split_has_an_image_of_an_earlier_one_and_all_others_stay(
    train: list[int], validation: list[int], test: list[int]
) -> None:
    given = Splits(train=labelled(*train), validation=labelled(*validation), test=labelled(*test))
    kept = [
        [number for number in validation if number not in train],
        [number for number in test if number not in {*train, *validation}],
    ]
    parities = [{number % 2 for number in numbers} for numbers in (validation, test)]
    if [{number % 2 for number in numbers} for numbers in kept] != parities:
        with pytest.raises(DataError, match="is a copy of another split's"):
            separate(given, CLASSES, "drop")
        return
    found = separate(given, CLASSES, "drop")
    left = [pixels(one)[:, 0, 0, 0].tolist() for one in (found.train, found.validation, found.test)]
    assert left == [train, *kept]


def test_copies_are_told_with_their_number(capsys: pytest.CaptureFixture[str]) -> None:
    found = separate(splits(labelled(0, 4, 6, 7)), CLASSES, "drop")
    assert len(found.test) == 2
    assert "test: 2 of 4 images are copies of training or validation images" in (
        capsys.readouterr().out
    )


def test_copies_stay_if_asked_for_and_are_told_all_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = splits(labelled(0, 6, 7))
    assert separate(given, CLASSES, "keep") is given
    assert "1 of 3 images are copies" in capsys.readouterr().out


def test_copies_are_refused_if_asked_for_with_every_kind_in_a_line() -> None:
    given = splits(labelled(0, 6, 7, labels=(1, 0, 1)))
    with pytest.raises(DataError) as refused:
        separate(given, CLASSES, "refuse")
    copies, contradiction = str(refused.value).splitlines()
    assert copies.startswith("test: 1 of 3 images are copies of training or validation images; ")
    assert contradiction.startswith("1 images lie in more than one class; ")


def test_a_class_of_nothing_but_copies_is_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"^class 'dog': every test image is a copy"):
        separate(splits(labelled(1, 3, 6)), CLASSES, "drop")


def test_without_copies_nothing_is_said_and_nothing_copied(
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = splits(labelled(6, 7))
    assert separate(given, CLASSES, "drop").test is given.test
    assert capsys.readouterr().out == ""


def test_the_same_image_twice_in_one_class_contradicts_nothing() -> None:
    assert contradictions(digests(labelled(1, 1, 2)), np.array([1, 1, 0])) == 0
    assert contradictions(digests(labelled(1, 1, 2)), np.array([1, 0, 0])) == 1
