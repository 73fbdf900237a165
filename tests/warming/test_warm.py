"""Warmup trains weights, first along skip connections; the architecture waits."""

from itertools import islice
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pipeline.batches.params import AugmentationParams
from pipeline.harness.records import Row
from pipeline.space.network import Network
from pipeline.space.params import NetworkParams
from pipeline.supernet.supernet import Supernet
from pipeline.training.params import TrainingParams
from pipeline.warming.params import WarmupParams
from pipeline.warming.warm import epochs, exploration, start
from tests.conftest import identical, search_images, snapshot, tiny

IMAGES = search_images()


def fresh(seed: int = 0) -> Supernet:
    return start(
        tiny(NetworkParams),
        tiny(TrainingParams),
        image_channels=3,
        classes=3,
        seed=seed,
        device=torch.device("cpu"),
    )


def warm(
    supernet: Supernet,
    params: WarmupParams,
    *,
    most: int = 99,
    seed: int = 0,
    auxiliary_skip: float = 0.0,
) -> list[Row]:
    """Run at most so many epochs."""
    rows = epochs(
        supernet,
        IMAGES,
        params=params,
        training=tiny(TrainingParams, auxiliary_skip=auxiliary_skip),
        augmentation=tiny(AugmentationParams),
        seed=seed,
    )
    return list(islice(rows, most))


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
    supernet = fresh()
    before = snapshot(supernet.network)
    rows = warm(supernet, tiny(WarmupParams, epochs=2, skip_epochs=2))
    assert [row["phase"] for row in rows] == ["skip", "skip"]
    others = ("avg_pool_3x3", "sep_conv_3x3")
    for name, tensor in snapshot(supernet.network).items():
        assert torch.equal(tensor, before[name]) == any(other in name for other in others), name


def test_warmup_leaves_the_logits_bit_identical() -> None:
    supernet = fresh()
    before = supernet.logits.clone()
    warm(supernet, tiny(WarmupParams))
    assert torch.equal(supernet.logits, before)
    assert supernet.logits.grad is None


def test_full_exploration_has_trained_every_operation_by_the_end_of_warmup() -> None:
    supernet = fresh()
    before = {place: snapshot(module) for place, module in candidates(supernet.network).items()}
    warm(supernet, tiny(WarmupParams, epochs=12, skip_epochs=1, explore=1.0))
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
    params = tiny(WarmupParams, epochs=4, learning_rate=0.05, learning_rate_end=0.01)
    rates = [float(row["learning_rate"]) for row in warm(fresh(), params)]
    assert rates == sorted(rates, reverse=True)
    assert 0.01 <= rates[-1] < rates[0] < 0.05


def test_every_exploring_step_draws_a_path_of_its_own() -> None:
    supernet, drawn = fresh(), []

    def note(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        if torch.is_grad_enabled():
            drawn.append(arguments[1].active)

    supernet.network.register_forward_pre_hook(note)
    warm(supernet, tiny(WarmupParams, epochs=3, skip_epochs=0))
    assert len(set(drawn)) == len(drawn) == 9


def test_only_epochs_that_explore_have_the_auxiliary_skip() -> None:
    supernet, weights = fresh(), []

    def note(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        if torch.is_grad_enabled():
            weights.append(arguments[1].auxiliary)

    supernet.network.register_forward_pre_hook(note)
    warm(supernet, tiny(WarmupParams, epochs=3, skip_epochs=1), auxiliary_skip=0.5)
    assert weights == [0.0] * 3 + [0.5] * 6


def test_equal_seeds_give_equal_bytes_and_others_do_not() -> None:
    first, again, other = fresh(0), fresh(0), fresh(1)
    for supernet, seed in ((first, 0), (again, 0), (other, 1)):
        warm(supernet, tiny(WarmupParams), seed=seed)
    assert identical(snapshot(first.network), snapshot(again.network))
    assert torch.equal(first.logits, again.logits)
    assert not identical(snapshot(first.network), snapshot(other.network))
    assert not torch.equal(first.logits, other.logits)


def test_warmup_that_was_broken_off_after_an_epoch_goes_on_to_the_same_bytes() -> None:
    whole, parts = fresh(), fresh()
    params = tiny(WarmupParams, epochs=3)
    rows = warm(whole, params)
    assert warm(parts, params, most=1) + warm(parts, params) == rows
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert identical(snapshot(parts.network), snapshot(whole.network))


def test_warmup_does_not_touch_the_global_generator() -> None:
    before = torch.get_rng_state()
    warm(fresh(), tiny(WarmupParams))
    assert torch.equal(torch.get_rng_state(), before)
