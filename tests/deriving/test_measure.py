"""The test split gives one accuracy, and one for each class."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.batches.randomness import generator
from pipeline.deriving.measure import interval, measure, predict
from pipeline.space.network import discretize
from pipeline.space.relaxation import decide
from pipeline.training.evaluation import evaluate
from tests.conftest import random_images, scramble, tiny_network


@given(st.integers(0, 99))
def test_the_accuracy_is_the_mean_of_the_classes_by_their_images(seed: int) -> None:
    labels = torch.cat([torch.arange(3), torch.randint(3, (20,), generator=generator(seed, "l"))])
    logits = torch.randn(23, 3, generator=generator(seed, "logits"))
    found = measure(logits, labels, ("ant", "bee", "cat"))
    by_class = found["accuracy_by_class"]
    assert isinstance(by_class, dict)
    assert list(by_class) == ["ant", "bee", "cat"]
    counts = labels.bincount().tolist()
    mean = sum(a * count for a, count in zip(by_class.values(), counts, strict=True)) / 23
    assert found["test_accuracy"] == pytest.approx(mean)


@given(st.integers(1, 500), st.floats(0, 1))
def test_the_interval_holds_the_accuracy_and_narrows_with_more_images(
    images: int, share: float
) -> None:
    right = round(share * images)
    low, high = interval(right, images)
    assert 0 <= low <= right / images <= high <= 1
    narrow = interval(100 * right, 100 * images)
    assert narrow[1] - narrow[0] < high - low


def test_the_interval_is_wilsons() -> None:
    # Newcombe 1998, table I: 81 of 263 is 0.2553 to 0.3662.
    assert interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_predictions_agree_with_evaluation_whatever_the_batch_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    supernet = scramble(tiny_network())
    network = discretize(supernet, decide(torch.zeros(2, 5, 4), supernet.blueprint)).eval()
    images = random_images(11)
    logits = predict(network, images)
    assert logits.shape == (11, 3)
    monkeypatch.setattr("pipeline.deriving.measure.BATCH_SIZE", 4)
    torch.testing.assert_close(predict(network, images), logits)
    loss, accuracy = evaluate(network, images, 11)
    found = measure(logits, images.labels, ("a", "b", "c"))
    assert found["test_loss"] == pytest.approx(loss)
    assert found["test_accuracy"] == pytest.approx(accuracy)
