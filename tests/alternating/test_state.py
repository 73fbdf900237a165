"""The beginning and the pace of search: logits, rates and temperature."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.alternating.state import architecture_steps, sharpen
from pipeline.batches.randomness import generator
from pipeline.space.checkpoint import read_checkpoint
from tests.conftest import context, identical, random_images, snapshot
from tests.phases import PLAIN, architecture_step, searching, train


def test_what_was_learnt_is_kept_when_search_begins(checkpoint: Path) -> None:
    state = searching(checkpoint, transition_noise=0.0).begin()
    before = read_checkpoint(checkpoint)
    assert torch.equal(state.logits, before.searched())
    assert identical(snapshot(state.network), snapshot(before.network))
    assert (state.epoch, state.temperature) == (5, 2.0)
    noisy = searching(checkpoint, transition_noise=0.05).begin()
    assert 0.01 < float((noisy.logits - before.searched()).detach().std()) < 0.1


@given(
    spread=st.floats(0, 4), seed=st.integers(0, 99), operations=st.integers(2, 8), data=st.data()
)
def test_sharpening_strengthens_the_three_strongest_but_none_of_flat_edges(
    spread: float, seed: int, operations: int, data: st.DataObject
) -> None:
    none = data.draw(st.integers(0, operations - 1))
    logits = spread * torch.randn(2, 5, operations, generator=generator(seed, "logits"))
    added = sharpen(logits, none=none, delta=0.5) - logits
    for row, sharpened in zip(logits.flatten(0, 1), added.flatten(0, 1), strict=True):
        raised = {index for index in range(operations) if sharpened[index] > 0.25}
        if row.softmax(-1).max() >= 0.4:
            assert not raised
            continue
        others = [index for index in range(operations) if index != none]
        assert none not in raised
        assert len(raised) == min(3, len(others))
        weakest = min(float(row[index]) for index in raised)
        assert all(row[index] <= weakest for index in others if index not in raised)


def test_search_sharpens_only_if_asked_to(checkpoint: Path) -> None:
    plain, sharp = (searching(checkpoint, sharpen=delta).begin() for delta in (0.0, 0.5))
    expected = sharpen(plain.logits.detach(), none=plain.network.blueprint.none, delta=0.5)
    assert torch.equal(sharp.logits, expected)


def test_a_floor_keeps_the_sampling_warm_while_the_temperature_falls(checkpoint: Path) -> None:
    states = []
    for floor in (50.0, 0.0):
        phase = searching(checkpoint, temperature=0.2, temperature_floor=floor)
        states.append(phase.begin())
        architecture_step(phase, states[-1])
    assert states[0].temperature == states[1].temperature < 0.2
    gradients = [state.logits.grad for state in states]
    assert gradients[0] is not None
    assert gradients[1] is not None
    assert not torch.equal(gradients[0], gradients[1])


@given(
    images=st.integers(1, 40),
    batch_size=st.integers(2, 16),
    epochs=st.integers(1, 5),
    frequency=st.integers(2, 7),
)
def test_architecture_steps_are_counted_from_the_batches_that_training_makes(
    images: int, batch_size: int, epochs: int, frequency: int
) -> None:
    batches = context(augmentation=PLAIN, batch_size=batch_size).batches(
        random_images(images, size=2), ("count",)
    )
    counted = architecture_steps(images, batch_size, epochs, frequency)
    assert counted == epochs * len(list(batches)) // (frequency - 1)


@pytest.mark.parametrize("temperature_end", [0.1, 1.0, 2.0])
def test_the_automatic_rate_brings_the_temperature_to_its_end_and_not_below(
    temperature_end: float, checkpoint: Path
) -> None:
    phase = searching(checkpoint, epochs=3, temperature_end=temperature_end)
    rows = train(phase, phase.begin())
    course = [2.0, *(float(row["temperature"]) for row in rows)]
    assert all(after <= before for before, after in pairwise(course))
    assert min(course) >= temperature_end
    assert course[-1] == pytest.approx(temperature_end)


def test_a_rate_that_is_too_fast_stops_at_the_end(checkpoint: Path) -> None:
    phase = searching(checkpoint, anneal_rate=0.01, temperature_end=0.5)
    state = phase.begin()
    train(phase, state)
    assert state.temperature == 0.5


def test_the_automatic_rate_of_the_logits_reaches_as_far_as_it_is_told(checkpoint: Path) -> None:
    rate = searching(checkpoint, epochs=3, arch_reach=4.0).begin().logit_optimizer.learning_rate
    assert rate * architecture_steps(24, 8, 3, 3) == pytest.approx(4.0)
    state = searching(checkpoint, arch_learning_rate=0.3).begin()
    assert state.logit_optimizer.learning_rate == 0.3
