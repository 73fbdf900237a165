"""A temperature is fitted on held-out images, and it changes nothing but probabilities."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from pipeline.batches.randomness import generator
from pipeline.deriving.calibration import (
    HIGHEST,
    LOWEST,
    Calibration,
    calibration_error,
    fit_temperature,
    measure_calibration,
    probabilities,
    unsure_below,
)

SEEDS = st.integers(0, 999)
TEMPERATURES = st.floats(LOWEST, HIGHEST)


def answers(seed: int, *, images: int = 60, classes: int = 4) -> tuple[Tensor, Tensor]:
    """Return logits and labels that are right more often than not."""
    labels = torch.randint(classes, (images,), generator=generator(seed, "labels"))
    noise = 2 * torch.randn(images, classes, generator=generator(seed, "noise"))
    return noise + 2 * F.one_hot(labels, classes), labels


@given(SEEDS, TEMPERATURES)
def test_no_temperature_changes_the_predicted_class(seed: int, temperature: float) -> None:
    logits, _ = answers(seed)
    found = probabilities(logits, temperature)
    predicted = found.gather(1, logits.argmax(1, keepdim=True))
    assert torch.equal(predicted, found.amax(1, keepdim=True))


@given(SEEDS, st.floats(0.6, 1.8))
def test_the_temperature_grows_with_the_logits(seed: int, factor: float) -> None:
    logits, labels = answers(seed)
    one, other = fit_temperature(logits, labels), fit_temperature(factor * logits, labels)
    assume(min(one, other) > LOWEST and max(one, other) < HIGHEST)
    assert other == pytest.approx(factor * one, abs=3e-4)


@given(SEEDS, TEMPERATURES)
def test_no_other_temperature_makes_the_labels_likelier(seed: int, temperature: float) -> None:
    logits, labels = (one.double() if one.is_floating_point() else one for one in answers(seed))
    fitted = fit_temperature(logits, labels)
    best, other = (float(F.cross_entropy(logits / t, labels)) for t in (fitted, temperature))
    assert best <= other + 1e-6


def test_the_temperature_of_images_that_are_all_right_or_all_wrong_is_bounded() -> None:
    logits = 5 * torch.eye(3)
    assert fit_temperature(logits, torch.arange(3)) == LOWEST
    assert fit_temperature(logits, torch.tensor([1, 2, 0])) == HIGHEST


def test_calibrating_twice_finds_nothing_more() -> None:
    logits, labels = answers(0, images=400)
    temperature = fit_temperature(logits, labels)
    assert 1.5 < temperature < HIGHEST
    assert fit_temperature(logits / temperature, labels) == pytest.approx(1, abs=3e-4)


@given(SEEDS, TEMPERATURES)
def test_the_calibration_error_is_a_fraction(seed: int, temperature: float) -> None:
    logits, labels = answers(seed)
    assert 0 <= calibration_error(probabilities(logits, temperature), labels) <= 1


def test_the_calibration_error_is_that_of_an_example() -> None:
    # Of 0.6 and 0.62, in one interval, half is right; of 0.9 and 1.0 all and none.
    sure = torch.tensor([0.6, 0.62, 0.9, 1.0])
    found = torch.stack([sure, 1 - sure], 1)
    labels = torch.tensor([0, 1, 0, 1])
    expected = (abs(0.6 + 0.62 - 1) + 0.1 + 1.0) / 4
    assert calibration_error(found, labels) == pytest.approx(expected, abs=1e-6)
    assert calibration_error(torch.eye(2), torch.arange(2)) == 0
    assert calibration_error(torch.eye(2), torch.tensor([1, 0])) == 1


@given(SEEDS, TEMPERATURES, st.integers(1, 60))
def test_at_most_one_in_twenty_right_answers_is_unsure(
    seed: int, temperature: float, images: int
) -> None:
    logits, labels = answers(seed, images=images)
    found = probabilities(logits, temperature)
    highest, predicted = found.max(1)
    right = highest[predicted == labels]
    limit = unsure_below(found, labels)
    assert (limit is None) == (len(right) == 0)
    if limit is not None:
        assert int((right < limit).sum()) <= 0.05 * len(right)
        # The next of the right answers would be too many.
        assert int((right < limit + 2e-4).sum()) >= 0.05 * (len(right) - 1)


def test_what_is_almost_certain_is_never_unsure() -> None:
    found = torch.tensor([[1 - 1e-5, 1e-5]]).expand(40, 2)
    limit = unsure_below(found, torch.zeros(40, dtype=torch.long))
    assert limit == 0.9999


def test_what_was_not_fitted_is_not_among_the_metrics() -> None:
    logits, labels = answers(1)
    plain = calibration_error(probabilities(logits, 1.0), labels)
    assert measure_calibration(None, logits, labels) == {"test_calibration_error": plain}
    found = measure_calibration(Calibration(temperature=2.0, unsure_below=None), logits, labels)
    assert found == {
        "test_calibration_error": calibration_error(probabilities(logits, 2.0), labels),
        "test_calibration_error_before": plain,
        "temperature": 2.0,
    }
