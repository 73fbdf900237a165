"""How search begins and how fast it goes: logits, rates and temperature."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.alternating.params import SearchParams
from pipeline.alternating.state import architecture_steps, sharpen
from pipeline.batches.randomness import generator
from pipeline.harness.records import Row
from pipeline.searching.search import drop_at_start
from tests.conftest import identical, snapshot, tiny
from tests.searching.conftest import begin, one_architecture_step, search, warmed


def test_what_was_learnt_is_kept_when_search_begins() -> None:
    state = begin(tiny(SearchParams, transition_noise=0.0))
    before = warmed()
    assert before.logits is not None
    assert torch.equal(state.logits, before.logits)
    assert identical(snapshot(state.network), snapshot(before.network))
    assert (state.epoch, state.temperature) == (5, 2.0)
    noisy = begin(tiny(SearchParams, transition_noise=0.05))
    assert 0.01 < float((noisy.logits - before.logits).detach().std()) < 0.1


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


def test_search_sharpens_only_if_asked_to() -> None:
    plain, sharp = (begin(tiny(SearchParams, sharpen=delta)) for delta in (0.0, 0.5))
    expected = sharpen(plain.logits.detach(), none=0, delta=0.5)
    assert torch.equal(sharp.logits, expected)


def test_a_floor_keeps_the_sampling_warm_while_the_temperature_falls() -> None:
    floored, plain = (
        tiny(SearchParams, temperature=0.2, temperature_floor=floor) for floor in (50.0, 0.0)
    )
    states = begin(floored), begin(plain)
    for state, params in zip(states, (floored, plain), strict=True):
        one_architecture_step(state, params)
    assert states[0].temperature == states[1].temperature < 0.2
    gradients = [state.logits.grad for state in states]
    assert gradients[0] is not None
    assert gradients[1] is not None
    assert not torch.equal(gradients[0], gradients[1])


@given(st.floats(0, 1), st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_the_drop_at_the_start_is_to_the_worst_of_the_first_three_epochs(
    before: float, accuracies: list[float]
) -> None:
    history: list[Row] = [{"validation_accuracy": accuracy} for accuracy in accuracies]
    drop = drop_at_start(before, history)
    assert drop == before - min(accuracies[:3])
    assert (drop <= 0) == (min(accuracies[:3]) >= before)


@pytest.mark.parametrize("temperature_end", [0.1, 1.0, 2.0])
def test_the_automatic_rate_brings_the_temperature_to_its_end_and_not_below(
    temperature_end: float,
) -> None:
    params = tiny(SearchParams, epochs=3, temperature_end=temperature_end)
    state = begin(params)
    course = [params.temperature, *(float(row["temperature"]) for row in search(state, params))]
    assert all(after <= before for before, after in pairwise(course))
    assert min(course) >= temperature_end
    assert course[-1] == pytest.approx(temperature_end)


def test_a_rate_that_is_too_fast_stops_at_the_end() -> None:
    params = tiny(SearchParams, anneal_rate=0.01, temperature_end=0.5)
    state = begin(params)
    search(state, params)
    assert state.temperature == 0.5


def test_the_automatic_rate_of_the_logits_reaches_as_far_as_it_is_told() -> None:
    params = tiny(SearchParams, epochs=3, arch_reach=4.0)
    rate = begin(params).logit_optimizer.learning_rate
    assert rate * architecture_steps(24, 8, 3, 3) == pytest.approx(4.0)
    state = begin(tiny(SearchParams, arch_learning_rate=0.3))
    assert state.logit_optimizer.learning_rate == 0.3
