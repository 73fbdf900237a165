"""The loss of optimize weighs rare classes as `optimize.balance` says."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from pipeline.batches.randomness import generator
from pipeline.optimizing.loss import Loss, class_weights
from pipeline.optimizing.params import OptimizeParams
from tests.conftest import context, identical, random_images, snapshot, tiny
from tests.phases import optimizing, train

LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=60).map(torch.tensor)


@given(LABELS, st.floats(0, 1))
def test_weights_fall_with_the_images_of_a_class_and_are_one_in_the_mean(
    labels: torch.Tensor, balance: float
) -> None:
    weights, counts = class_weights(labels, 5, balance), labels.bincount(minlength=5)
    assert float(weights[labels].double().mean()) == pytest.approx(1, rel=1e-6)
    present = counts > 0
    constant = (weights * counts**balance)[present].tolist()
    assert constant == pytest.approx([constant[0]] * len(constant), rel=1e-5)


@given(LABELS)
def test_in_full_balance_every_class_has_the_same_total(labels: torch.Tensor) -> None:
    counts = labels.bincount(minlength=5)
    totals = (class_weights(labels, 5, 1.0) * counts)[counts > 0].tolist()
    assert totals == pytest.approx([totals[0]] * len(totals), rel=1e-6)


def test_the_balanced_loss_is_the_weighted_mean_over_the_images() -> None:
    images = random_images(30)
    logits = torch.randn(30, 3, generator=generator(0, "logits"))
    labels = images.labels
    plain = Loss.of(tiny(OptimizeParams), images, 3)(logits, labels, None)
    assert torch.equal(plain, F.cross_entropy(logits, labels, label_smoothing=0.1))
    balanced = Loss.of(tiny(OptimizeParams, balance=1.0), images, 3)(logits, labels, None)
    of_classes = [
        F.cross_entropy(logits[labels == k], labels[labels == k], label_smoothing=0.1)
        for k in range(3)
    ]
    assert float(balanced) == pytest.approx(float(torch.stack(of_classes).mean()), rel=1e-6)


def test_balance_changes_what_is_trained_and_counts_the_training_images(checkpoint: Path) -> None:
    results = []
    for balance in (0.0, 1.0):
        phase = optimizing(checkpoint, context(21), balance=balance, auxiliary_weight=0.4)
        state = phase.begin()
        train(phase, state)
        results.append(snapshot(state.result))
    assert not identical(*results)
