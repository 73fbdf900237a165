"""Optimize trains the discrete network; what counts is the average of its weights."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.batches.batches import normalise
from pipeline.deciding.decision import decide
from pipeline.optimizing.auxiliary import auxiliary_cell
from pipeline.optimizing.optimize import Optimize
from pipeline.optimizing.state import OptimizeState
from pipeline.space.checkpoint import read_checkpoint
from pipeline.space.genotype import Genotype
from pipeline.space.network import Network, discretize
from tests.conftest import context, identical, scramble, snapshot, tiny_network, write_supernet
from tests.phases import PLAIN, optimizing, train


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a supernet that has trained for long."""
    return write_supernet(tmp_path_factory.mktemp("grown") / "one", scramble(tiny_network()))


@pytest.fixture(scope="module")
def genotype(grown: Path) -> Genotype:
    read = read_checkpoint(grown)
    return decide(read.searched(), read.network.blueprint)


def trained(phase: Optimize[Network]) -> OptimizeState[Network]:
    state = phase.begin()
    train(phase, state)
    return state


def learning(weights: Mapping[str, Any]) -> list[str]:
    """Return the names of weights and statistics; biases before BatchNorm learn nothing."""
    return [name for name, one in weights.items() if one.ndim > 1 or "running" in name]


def test_training_changes_every_weight_of_the_discrete_network(
    grown: Path, genotype: Genotype
) -> None:
    phase = optimizing(grown)
    state = phase.begin()
    before = snapshot(state.network)
    train(phase, state)
    assert state.network.genotype == genotype
    after = state.network.state_dict()
    assert all(not torch.equal(after[name], before[name]) for name in learning(before))


def test_without_averaging_the_result_is_the_trained_network_itself(grown: Path) -> None:
    state = trained(optimizing(grown, ema_decay=0.0))
    assert state.result is state.network


def test_the_averaged_network_differs_from_the_raw_one_and_begins_as_a_copy_of_it(
    grown: Path, genotype: Genotype
) -> None:
    once = trained(optimizing(grown, context(8), ema_decay=0.9, epochs=1))  # one batch, one update
    assert identical(snapshot(once.result), snapshot(once.network))
    often = trained(optimizing(grown, ema_decay=0.9, epochs=1))
    averaged, raw = snapshot(often.result), snapshot(often.network)
    assert not any(torch.equal(averaged[name], raw[name]) for name in learning(raw))
    assert often.result.genotype == genotype
    assert often.result.blueprint == often.network.blueprint


def test_averaging_leaves_what_is_trained_as_it_is(grown: Path) -> None:
    plain, averaged = (trained(optimizing(grown, ema_decay=decay)) for decay in (0.0, 0.9))
    assert identical(snapshot(plain.network), snapshot(averaged.network))


def test_a_second_head_learns_beside_the_result_and_is_not_part_of_it(grown: Path) -> None:
    phase = optimizing(grown, auxiliary_weight=0.4, ema_decay=0.9)
    state = phase.begin()
    assert state.auxiliary is not None
    assert auxiliary_cell(state.network) == 2
    before = snapshot(state.auxiliary)
    train(phase, state)
    assert not identical(snapshot(state.auxiliary), before)
    without = optimizing(grown).begin()
    assert without.auxiliary is None
    assert state.result.state_dict().keys() == without.result.state_dict().keys()


def test_a_second_head_teaches_the_network(grown: Path) -> None:
    alone, taught = (trained(optimizing(grown, auxiliary_weight=weight)) for weight in (0.0, 0.4))
    assert not identical(snapshot(alone.network), snapshot(taught.network))


def test_drop_path_rises_from_nothing_to_its_end(grown: Path) -> None:
    phase = replace(optimizing(grown, epochs=4, drop_path=0.3), watch=None)
    state = phase.begin()
    seen: list[float] = []

    def note(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        kept = arguments[-1]
        seen.append(0.0 if kept is None else 1 - 1 / float(kept.max()))

    state.network.cells[0].register_forward_pre_hook(note)
    train(phase, state)
    assert seen == pytest.approx([0.0] * 3 + [0.1] * 3 + [0.2] * 3 + [0.3] * 3)


def test_weights_from_scratch_owe_nothing_to_the_supernet(grown: Path, tmp_path: Path) -> None:
    other = write_supernet(tmp_path / "other", scramble(tiny_network(seed=1)))
    networks = [
        snapshot(optimizing(path, from_scratch=True).begin().network) for path in (grown, other)
    ]
    assert identical(*networks)


def test_inherited_weights_come_with_statistics_of_their_own_path(
    grown: Path, genotype: Genotype
) -> None:
    inherited = optimizing(grown).begin().network
    supernet = discretize(read_checkpoint(grown).network, genotype)
    for (name, ours), theirs in zip(
        inherited.named_parameters(), supernet.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs), name
    assert not torch.equal(inherited.stem[1].running_mean, supernet.stem[1].running_mean)


def test_the_checkpoint_of_the_supernet_stays_as_it_was(grown: Path) -> None:
    before = grown.read_bytes()
    trained(optimizing(grown))
    assert grown.read_bytes() == before


def test_validation_images_are_watched_only_if_they_are_given_and_change_nothing(
    grown: Path,
) -> None:
    phase = optimizing(grown, ema_decay=0.9)
    watched, blind = phase.begin(), phase.begin()
    assert all(0 <= float(row["validation_accuracy"]) <= 1 for row in train(phase, watched))
    rows = train(replace(phase, watch=None), blind)
    assert all("validation_loss" not in row for row in rows)
    assert identical(snapshot(watched.result), snapshot(blind.result))


def test_epochs_are_counted_on_and_the_learning_rate_falls(grown: Path) -> None:
    phase = optimizing(grown, epochs=4)
    rows = train(phase, phase.begin())
    assert [row["epoch"] for row in rows] == [6, 7, 8, 9]
    rates = [float(row["learning_rate"]) for row in rows]
    assert rates == sorted(rates, reverse=True)
    assert 0.01 <= rates[-1] < rates[0] < 0.05


def test_equal_seeds_give_equal_bytes_and_others_do_not(grown: Path) -> None:
    first, again, other = (
        snapshot(trained(optimizing(grown, context(seed=seed), drop_path=0.3)).result)
        for seed in (0, 0, 1)
    )
    assert identical(first, again)
    assert not identical(first, other)


def test_every_image_keeps_the_sum_of_its_own_margins(grown: Path) -> None:
    phase = optimizing(grown, context(augmentation=PLAIN))
    state = phase.begin()
    observer = deepcopy(state.network)
    list(phase.train(state, 0.0, []))  # nothing is learnt, so a copy answers alike
    images = phase.context.images
    shown = normalise(images.pixels, images.mean, images.std)
    expected = torch.zeros(len(images))
    for epoch in range(state.first_epoch + 1, state.epoch + 1):
        for batch, labels in phase.context.batches(images, ("optimize", epoch)):
            for image, logits, label in zip(batch, observer(batch).detach(), labels, strict=True):
                others = [one for index, one in enumerate(logits.tolist()) if index != label]
                [[index]] = (shown == image).flatten(1).all(1).nonzero().tolist()
                expected[index] += float(logits[label]) - max(others)
    assert state.epoch - state.first_epoch == 2
    torch.testing.assert_close(state.margins, expected, rtol=1e-4, atol=1e-4)


def test_a_wrong_label_has_a_low_margin_though_the_network_learns_it_by_heart(grown: Path) -> None:
    given = context(augmentation=PLAIN)
    colors = torch.tensor([[250, 0, 0], [0, 250, 0], [0, 0, 250]])[given.images.labels]
    noise = given.images.pixels // 10
    pixels = (noise + colors[:, :, None, None] // 2).to(torch.uint8)
    labels = given.images.labels.clone()
    labels[5] = (labels[5] + 1) % 3
    images = replace(given.images, pixels=pixels, labels=labels)
    phase = optimizing(grown, replace(given, images=images), epochs=12)
    assert int(trained(phase).margins.argmin()) == 5
