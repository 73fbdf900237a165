"""Splits share no image, keep the share of each class, and depend on the seed alone."""

from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.data.source import Source
from pipeline.data.splits import Splits, channel_statistics, split
from pipeline.harness.errors import DataError
from pipeline.prepared.labelled import Labelled
from tests.data.drawing import pixels


def numbered(counts: list[int]) -> Labelled:
    """Return images of one pixel whose four channels encode the number of the image."""
    labels = np.repeat(np.arange(len(counts)), counts)
    number = np.arange(len(labels), dtype=np.uint32)
    return Labelled(images=number.view(np.uint8).reshape(-1, 1, 1, 4), labels=labels)


def numbers(labelled: Labelled) -> list[int]:
    return np.ascontiguousarray(pixels(labelled)).view(np.uint32).ravel().tolist()


def unlabelled(images: NDArray[np.uint8]) -> Labelled:
    return Labelled(images=images, labels=np.zeros(len(images), np.int64))


def source(counts: list[int], test: Labelled | None = None) -> Source:
    classes = tuple(f"class {label}" for label in range(len(counts)))
    return Source(name="numbered", classes=classes, train=numbered(counts), test=test)


FRACTIONS = st.floats(0.05, 0.95)
SEEDS = st.integers(0, 2**63 - 1)


def per_class(labelled: Labelled, classes: int) -> NDArray[np.int64]:
    return np.bincount(labelled.labels, minlength=classes)


@settings(max_examples=100)
@given(data=st.data(), validation=FRACTIONS, test=FRACTIONS, seed=SEEDS)
def test_splits_partition_the_images_and_each_class(
    data: st.DataObject, validation: float, test: float, seed: int
) -> None:
    remaining = 1 + max(1 / validation, 2 / (1 - validation))
    enough = ceil(max(1 / test, remaining / (1 - test)))
    counts = data.draw(st.lists(st.integers(enough, enough + 40), min_size=2, max_size=8))
    whole = source(counts)
    splits = split(whole, validation_fraction=validation, test_fraction=test, seed=seed)
    parts = (splits.train, splits.validation, splits.test)
    assert sorted(chain.from_iterable(map(numbers, parts))) == list(range(sum(counts)))
    assert all(whole.train.labels[numbers(part)].tolist() == part.labels.tolist() for part in parts)
    rest = np.array(counts)
    for part, fraction in ((splits.test, test), (splits.validation, validation)):
        assert len(part) == ceil(fraction * rest.sum())
        found = per_class(part, len(counts))
        assert np.all(np.abs(found - rest * len(part) / rest.sum()) < 1 + 1e-9)
        rest = rest - found
    assert all(np.all(per_class(part, len(counts)) > 0) for part in parts)


@given(counts=st.lists(st.integers(4, 60), min_size=2, max_size=8), seed=SEEDS)
def test_a_test_split_of_its_own_is_kept(counts: list[int], seed: int) -> None:
    test = numbered([1, 2])
    splits = split(source(counts, test), validation_fraction=0.5, test_fraction=0.5, seed=seed)
    assert splits.test is test
    assert sorted(numbers(splits.train) + numbers(splits.validation)) == list(range(sum(counts)))


@given(counts=st.lists(st.integers(4, 60), min_size=2, max_size=8), seed=SEEDS)
def test_a_validation_split_of_its_own_is_kept_in_another_order(
    counts: list[int], seed: int
) -> None:
    validation = numbered([9, 8])
    own = replace(source(counts), validation=validation, test=numbered([1, 2]))
    splits = split(own, validation_fraction=0.5, test_fraction=0.5, seed=seed)
    assert sorted(numbers(splits.train)) == list(range(sum(counts)))
    assert sorted(numbers(splits.validation)) == list(range(17))
    assert numbers(validation) == list(range(17))


@pytest.fixture
def cut() -> Callable[[int], Splits]:
    whole = source([40, 60])
    return lambda seed: split(whole, validation_fraction=0.3, test_fraction=0.2, seed=seed)


def test_the_seed_decides_which_image_goes_where(cut: Callable[[int], Splits]) -> None:
    assert numbers(cut(7).train) == numbers(cut(7).train)
    assert numbers(cut(7).train) != numbers(cut(8).train)
    assert sorted(numbers(cut(7).test)) != sorted(numbers(cut(7 + 2**32).test))
    assert numbers(cut(2**63 - 1).validation) == numbers(cut(2**63 - 1).validation)


def test_the_first_images_of_a_split_are_of_all_classes(cut: Callable[[int], Splits]) -> None:
    """BatchNorm statistics are estimated on the first batches, in order."""
    assert set(cut(0).train.labels[:16].tolist()) == {0, 1}


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        ([9, 100], "class 'class 0': 9 images are too few to split by data.test_fraction 0.1;"),
        ([20, 0], "class 'class 1': 0 images are too few to split by data.test_fraction 0.1;"),
        (
            [30, 10],
            "class 'class 1': 9 images are too few to split by data.validation_fraction 0.1;",
        ),
    ],
)
def test_a_class_with_too_few_images_is_named(counts: list[int], line: str) -> None:
    with pytest.raises(DataError) as caught:
        split(source(counts), validation_fraction=0.1, test_fraction=0.1, seed=0)
    assert str(caught.value) == f"{line} at least 10 of each class are needed there"


def test_statistics_are_those_of_numpy() -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 5, 6, 3), dtype=np.uint8)
    mean, std = channel_statistics(unlabelled(images))
    scaled = images / 255
    assert mean == pytest.approx(scaled.mean((0, 1, 2)), abs=1e-12)
    assert std == pytest.approx(scaled.std((0, 1, 2)), abs=1e-12)


@given(seed=st.integers(0, 2**32 - 1))
def test_statistics_do_not_depend_on_the_order_in_a_single_bit(seed: int) -> None:
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (7, 3, 3, 2), dtype=np.uint8)
    assert channel_statistics(unlabelled(images)) == channel_statistics(
        unlabelled(generator.permutation(images))
    )


@given(level=st.integers(0, 255))
def test_a_channel_that_never_varies_does_not_divide_by_zero(level: int) -> None:
    mean, std = channel_statistics(unlabelled(np.full((3, 4, 4, 1), level, np.uint8)))
    assert mean == (level / 255,)
    assert std == (1 / 255,)
