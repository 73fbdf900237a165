"""Warmup trains weights, first along skip connections; the architecture does not change."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pipeline.space.network import Network
from pipeline.warming.params import WarmupParams
from pipeline.warming.warm import exploration
from tests.conftest import context, identical, snapshot, tiny
from tests.phases import train, warming


def candidates(network: Network) -> dict[tuple[int, int, str], nn.Module]:
    """(cell, edge, name) -> operation, of all that have weights."""
    return {
        (number, index, name): operation
        for number, cell in enumerate(network.cells)
        for index, edge in enumerate(cell.edges)
        for name, operation in edge.operations.items()
        if list(operation.parameters())
    }


def test_skip_only_epochs_leave_every_other_operation_bit_identical() -> None:
    phase = warming(epochs=2, skip_epochs=2)
    supernet = phase.begin()
    before = snapshot(supernet.network)
    rows = train(phase, supernet)
    assert [row["phase"] for row in rows] == ["skip", "skip"]
    others = ("avg_pool_3x3", "sep_conv_3x3")
    for name, tensor in snapshot(supernet.network).items():
        assert torch.equal(tensor, before[name]) == any(other in name for other in others), name


def test_warmup_leaves_the_logits_bit_identical() -> None:
    phase = warming()
    supernet = phase.begin()
    before = supernet.logits.clone()
    train(phase, supernet)
    assert torch.equal(supernet.logits, before)
    assert supernet.logits.grad is None


def test_full_exploration_has_trained_every_operation_by_the_end_of_warmup() -> None:
    phase = warming(epochs=12, skip_epochs=1, explore=1.0)
    supernet = phase.begin()
    before = {place: snapshot(module) for place, module in candidates(supernet.network).items()}
    train(phase, supernet)
    for place, module in candidates(supernet.network).items():
        for name, parameter in module.named_parameters():
            assert not torch.equal(parameter, before[place][name]), (place, name)


@given(st.integers(1, 50), st.integers(0, 50), st.integers(1, 60), st.floats(0, 1))
def test_exploration_rises_from_nothing_and_stays_when_it_has_risen(
    epochs: int, skip: int, ramp: int, end: float
) -> None:
    params = tiny(
        WarmupParams, epochs=epochs, skip_epochs=min(skip, epochs), ramp_epochs=ramp, explore=end
    )
    rise = [exploration(params, epoch) for epoch in range(1, epochs + 1)]
    assert rise == sorted(rise)
    assert all(probability == 0 for probability in rise[: params.skip_epochs])
    exploring = epochs - params.skip_epochs
    ramp = min(ramp, exploring)
    assert rise[params.skip_epochs :] == pytest.approx(
        [end * min(1, number / ramp) for number in range(1, exploring + 1)]
    )


def test_the_learning_rate_falls_from_its_start_to_its_end() -> None:
    phase = warming(epochs=4, learning_rate=0.05, learning_rate_end=0.01)
    rates = [float(row["learning_rate"]) for row in train(phase, phase.begin())]
    assert rates == sorted(rates, reverse=True)
    assert 0.01 <= rates[-1] < rates[0] < 0.05


def test_every_exploring_step_draws_a_path_of_its_own() -> None:
    phase = warming(epochs=3, skip_epochs=0)
    supernet, drawn = phase.begin(), []

    def note(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        if torch.is_grad_enabled():
            drawn.append(arguments[1].active)

    supernet.network.register_forward_pre_hook(note)
    train(phase, supernet)
    assert len(set(drawn)) == len(drawn) == 9


def test_only_epochs_that_explore_have_the_auxiliary_skip() -> None:
    phase = warming(context(auxiliary_skip=0.5), epochs=3, skip_epochs=1)
    supernet, weights = phase.begin(), []

    def note(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        if torch.is_grad_enabled():
            weights.append(arguments[1].auxiliary)

    supernet.network.register_forward_pre_hook(note)
    train(phase, supernet)
    assert weights == [0.0] * 3 + [0.5] * 6


def test_equal_seeds_give_equal_bytes_and_others_do_not() -> None:
    states = []
    for seed in (0, 0, 1):
        phase = warming(context(seed=seed))
        states.append(phase.begin())
        train(phase, states[-1])
    first, again, other = states
    assert identical(snapshot(first.network), snapshot(again.network))
    assert torch.equal(first.logits, again.logits)
    assert not identical(snapshot(first.network), snapshot(other.network))
    assert not torch.equal(first.logits, other.logits)


def test_epochs_are_counted_from_1() -> None:
    phase = warming(epochs=3)
    assert [row["epoch"] for row in train(phase, phase.begin())] == [1, 2, 3]


def test_warmup_does_not_touch_the_global_generator() -> None:
    before = torch.get_rng_state()
    phase = warming()
    train(phase, phase.begin())
    assert torch.equal(torch.get_rng_state(), before)
