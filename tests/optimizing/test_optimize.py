"""Optimize trains the discrete network; what counts is the average of its weights."""

from collections.abc import Mapping
from itertools import islice
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.batches.images import Images
from pipeline.batches.params import AugmentationParams
from pipeline.batches.randomness import generator
from pipeline.harness.records import Row
from pipeline.optimizing.optimize import OptimizeState, auxiliary_cell, epochs, start
from pipeline.optimizing.params import OptimizeParams
from pipeline.space.checkpoint import Checkpoint
from pipeline.space.network import discretize
from pipeline.space.relaxation import decide
from pipeline.training.params import TrainingParams
from tests.conftest import (
    identical,
    random_images,
    scramble,
    snapshot,
    tiny,
    tiny_blueprint,
    tiny_network,
)

IMAGES = random_images(24)
LOGITS = torch.randn(2, 5, 4, generator=generator(0, "logits"))
GENOTYPE = decide(LOGITS, tiny_blueprint())


def grown(seed: int = 0) -> Checkpoint:
    network = scramble(tiny_network(seed=seed), seed)
    return Checkpoint(network=network, logits=LOGITS.clone(), facts={"epoch": 9})


def begin(params: OptimizeParams, *, network: int = 0, seed: int = 0) -> OptimizeState:
    return start(grown(network), IMAGES, params, tiny(TrainingParams), seed=seed)


def train(
    state: OptimizeState,
    params: OptimizeParams,
    *,
    images: Images = IMAGES,
    validation: Images | None = None,
    most: int = 99,
    seed: int = 0,
) -> list[Row]:
    """Run at most so many epochs."""
    rows = epochs(
        state,
        images,
        validation,
        params=params,
        training=tiny(TrainingParams),
        augmentation=tiny(AugmentationParams),
        seed=seed,
    )
    return list(islice(rows, most))


def learning(weights: Mapping[str, Any]) -> list[str]:
    """Return the names of weights and statistics; biases before BatchNorm learn nothing."""
    return [name for name, one in weights.items() if one.ndim > 1 or "running" in name]


def test_training_changes_every_weight_of_the_discrete_network() -> None:
    params = tiny(OptimizeParams)
    state = begin(params)
    before = snapshot(state.network)
    train(state, params)
    assert state.network.genotype == GENOTYPE
    after = state.network.state_dict()
    assert all(not torch.equal(after[name], before[name]) for name in learning(before))


def test_without_averaging_the_result_is_the_trained_network_itself() -> None:
    params = tiny(OptimizeParams, ema_decay=0.0)
    state = begin(params)
    train(state, params)
    assert state.result is state.network


def test_the_averaged_network_differs_from_the_raw_one_and_begins_as_a_copy_of_it() -> None:
    params = tiny(OptimizeParams, ema_decay=0.9, epochs=1)
    once = begin(params)
    train(once, params, images=random_images(8))  # one batch, one update
    assert identical(snapshot(once.result), snapshot(once.network))
    often = begin(params)
    train(often, params)
    averaged, raw = snapshot(often.result), snapshot(often.network)
    assert not any(torch.equal(averaged[name], raw[name]) for name in learning(raw))
    assert often.result.genotype == GENOTYPE
    assert often.result.blueprint == often.network.blueprint


def test_averaging_leaves_what_is_trained_as_it_is() -> None:
    networks = []
    for decay in (0.0, 0.9):
        params = tiny(OptimizeParams, ema_decay=decay)
        state = begin(params)
        train(state, params)
        networks.append(snapshot(state.network))
    assert identical(*networks)


def test_a_second_head_learns_beside_the_result_and_is_not_part_of_it() -> None:
    params = tiny(OptimizeParams, auxiliary_weight=0.4, ema_decay=0.9)
    state = begin(params)
    assert state.auxiliary is not None
    assert auxiliary_cell(state.network) == 2
    before = snapshot(state.auxiliary)
    train(state, params)
    assert not identical(snapshot(state.auxiliary), before)
    without = begin(tiny(OptimizeParams))
    assert without.auxiliary is None
    assert state.result.state_dict().keys() == without.result.state_dict().keys()


def test_a_second_head_teaches_the_network() -> None:
    networks = []
    for weight in (0.0, 0.4):
        params = tiny(OptimizeParams, auxiliary_weight=weight)
        state = begin(params)
        train(state, params)
        networks.append(snapshot(state.network))
    assert not identical(*networks)


def test_drop_path_rises_from_nothing_to_its_end() -> None:
    params = tiny(OptimizeParams, epochs=4, drop_path=0.3)
    state = begin(params)
    seen: list[float] = []

    def note(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        seen.append(arguments[-1].probability if arguments[-1] else 0.0)

    state.network.cells[0].register_forward_pre_hook(note)
    train(state, params)
    assert seen == pytest.approx([0.0] * 3 + [0.1] * 3 + [0.2] * 3 + [0.3] * 3)


def test_weights_from_scratch_owe_nothing_to_the_supernet() -> None:
    fresh = tiny(OptimizeParams, from_scratch=True)
    states = [begin(fresh, network=number) for number in (0, 1)]
    assert identical(snapshot(states[0].network), snapshot(states[1].network))
    inherited = begin(tiny(OptimizeParams)).network
    supernet = discretize(grown().network, GENOTYPE)
    for (name, ours), theirs in zip(
        inherited.named_parameters(), supernet.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs), name


def test_inherited_weights_come_with_statistics_of_their_own_path() -> None:
    inherited = begin(tiny(OptimizeParams)).network
    supernet = discretize(grown().network, GENOTYPE)
    assert not torch.equal(inherited.stem[1].running_mean, supernet.stem[1].running_mean)


def test_the_supernet_stays_as_it_was() -> None:
    checkpoint, params = grown(), tiny(OptimizeParams)
    before = snapshot(checkpoint.network)
    state = start(checkpoint, IMAGES, params, tiny(TrainingParams), seed=0)
    train(state, params)
    assert identical(snapshot(checkpoint.network), before)


def test_validation_images_are_watched_only_if_they_are_given_and_change_nothing() -> None:
    params = tiny(OptimizeParams, ema_decay=0.9)
    watched, blind = begin(params), begin(params)
    rows = train(watched, params, validation=random_images(16, seed=1))
    assert all(0 <= float(row["validation_accuracy"]) <= 1 for row in rows)
    assert all("validation_loss" not in row for row in train(blind, params))
    assert identical(snapshot(watched.result), snapshot(blind.result))


def test_epochs_are_counted_on_and_the_learning_rate_falls() -> None:
    params = tiny(OptimizeParams, epochs=4)
    rows = train(begin(params), params)
    assert [row["epoch"] for row in rows] == [10, 11, 12, 13]
    rates = [float(row["learning_rate"]) for row in rows]
    assert rates == sorted(rates, reverse=True)
    assert 0.01 <= rates[-1] < rates[0] < 0.05


@pytest.mark.parametrize(
    "changes", [{}, {"ema_decay": 0.9, "auxiliary_weight": 0.4, "drop_path": 0.3}]
)
def test_training_that_was_broken_off_goes_on_to_the_same_bytes(changes: dict[str, float]) -> None:
    params = tiny(OptimizeParams, epochs=3, **changes)
    whole, parts = begin(params), begin(params)
    rows = train(whole, params)
    assert train(parts, params, most=1) + train(parts, params) == rows
    assert identical(snapshot(parts.result), snapshot(whole.result))


def test_equal_seeds_give_equal_bytes_and_others_do_not() -> None:
    params = tiny(OptimizeParams, drop_path=0.3)
    states = [begin(params) for _ in range(3)]
    for state, seed in zip(states, (0, 0, 1), strict=True):
        train(state, params, seed=seed)
    first, again, other = (snapshot(state.result) for state in states)
    assert identical(first, again)
    assert not identical(first, other)
