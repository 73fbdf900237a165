"""The test split gives accuracies, and precision, recall and F1 of each class."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.answering.measure import interval, measure, predict, predictions, top_accuracy
from pipeline.batches.randomness import generator
from pipeline.deciding.decision import decide
from pipeline.space.network import discretize
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


def test_precision_recall_and_f1_are_those_of_an_example_and_their_means_are_over_classes() -> None:
    # By actual and predicted class: ant [2, 1, 0], bee [0, 1, 0], cat [1, 0, 0]; no cat is named.
    labels = torch.tensor([0, 0, 0, 1, 2])
    logits = torch.nn.functional.one_hot(torch.tensor([0, 0, 1, 1, 0]), 3).float()
    found = measure(logits, labels, ("ant", "bee", "cat"))
    assert found["measures_by_class"] == {
        "ant": pytest.approx({"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3}),
        "bee": pytest.approx({"precision": 1 / 2, "recall": 1, "f1": 2 / 3}),
        "cat": {"precision": 0, "recall": 0, "f1": 0},
    }
    assert found["test_precision"] == pytest.approx(7 / 18)
    assert found["test_recall"] == pytest.approx(5 / 9)
    assert found["test_f1"] == pytest.approx(4 / 9)
    assert "test_top5_accuracy" not in found


@given(st.integers(0, 99), st.integers(6, 9), st.booleans())
def test_top_5_holds_the_right_class_at_least_as_often_as_top_1(
    seed: int, classes: int, ties: bool
) -> None:
    logits = torch.randn(30, classes, generator=generator(seed, "logits"))
    logits = logits.round() if ties else logits
    labels = torch.randint(classes, (30,), generator=generator(seed, "labels"))
    found = measure(logits, labels, tuple(map(str, range(classes))))
    top5 = found["test_top5_accuracy"]
    assert isinstance(top5, float)
    assert top5 == top_accuracy(logits, labels)
    assert float((logits.argmax(1) == labels).double().mean()) <= top5 <= 1
    if not ties:
        assert top5 == float((logits.topk(5).indices == labels[:, None]).any(1).double().mean())


def test_a_row_names_the_predicted_class_and_its_probability() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    rows = predictions(logits, logits.softmax(1), torch.tensor([0, 0]), ("ant", "bee"))
    assert [(row["actual"], row["predicted"]) for row in rows] == [("ant", "ant"), ("ant", "bee")]
    assert [row["probability"] for row in rows] == pytest.approx([0.8808, 0.7311], abs=1e-4)


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
    monkeypatch.setattr("pipeline.answering.measure.BATCH_SIZE", 4)
    torch.testing.assert_close(predict(network, images), logits)
    loss, accuracy = evaluate(network, images, 11)
    found = measure(logits, images.labels, ("a", "b", "c"))
    assert found["test_loss"] == pytest.approx(loss)
    assert found["test_accuracy"] == pytest.approx(accuracy)
