"""Growth keeps the outputs in nasbench201 too, where no cell matches the channels of its input."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.batches.randomness import generator
from pipeline.growing.blueprints import deepen, position, widen
from pipeline.growing.morph import grow_momentum
from pipeline.growing.params import Kind
from pipeline.space.blueprint import Blueprint
from pipeline.space.genotype import Genotype
from pipeline.space.relaxation import skip_only
from pipeline.training.optimizers import Sgd
from pipeline.training.params import TrainingParams
from pipeline.training.steps import descend
from tests.conftest import (
    NASBENCH201,
    costly,
    nasbench201_pairs,
    scramble,
    snapshot,
    tiny,
    tiny_blueprint,
    tiny_network,
)
from tests.growing.test_morph import GROWTHS, KINDS, difference, everything, explored, grown_by

Pair = tuple[Blueprint, Genotype]


@costly
@given(nasbench201_pairs(), GROWTHS, st.integers(0, 99))
def test_growing_keeps_the_outputs_however_often(
    pair: Pair, growths: list[tuple[Kind, float]], seed: int
) -> None:
    blueprint, _ = pair
    images = torch.randn(2, blueprint.image_channels, 8, 8, generator=generator(seed, "images"))
    network = tiny_network(blueprint)
    for kind, factor in growths:
        scramble(network, seed)
        grown = grown_by(network, kind, factor)
        for path in (skip_only, explored(seed, network.blueprint), everything):
            assert difference(network.double(), grown.double(), images.double(), path) < 1e-10
        network = grown.float()


@given(nasbench201_pairs(), st.floats(1.01, 4))
def test_a_new_cell_is_like_its_neighbours_and_the_stem_widens_with_the_first_cell(
    pair: Pair, factor: float
) -> None:
    blueprint, _ = pair
    deeper = deepen(blueprint)
    added = deeper.cells[position(blueprint)]
    assert (added.kind, added.grown) == ("normal", True)
    assert deeper.architectures - blueprint.architectures == int(blueprint.architectures > 1)
    wider = widen(deeper, factor)
    assert wider.stem_channels == wider.cells[0].channels > blueprint.stem_channels


@costly
@given(nasbench201_pairs(), KINDS)
def test_momentum_stays_with_its_weights_and_new_weights_have_none(pair: Pair, kind: Kind) -> None:
    params = tiny(TrainingParams)
    network = tiny_network(pair[0])
    # Weights that are nowhere 0, and each its own momentum: so every one can be followed.
    optimizer = Sgd.of(scramble(network).parameters(), params)
    for parameter, momentum in zip(network.parameters(), optimizer.buffers, strict=True):
        momentum.copy_(parameter.detach())
    grown = grown_by(network, kind)
    added = position(network.blueprint) if kind == "deepen" else None
    following = grow_momentum(optimizer, network, grown, params, added=added)
    for parameter, momentum in zip(grown.parameters(), following.buffers, strict=True):
        assert torch.equal(momentum[momentum != 0], parameter[momentum != 0])
    kept = torch.cat([momentum[momentum != 0] for momentum in following.buffers])
    old = torch.cat([momentum[momentum != 0] for momentum in optimizer.buffers])
    assert torch.equal(kept.sort().values, old.sort().values)


@pytest.mark.parametrize("kind", ["deepen", "widen"])
def test_all_new_weights_learn_within_two_steps(kind: Kind) -> None:
    params = tiny(TrainingParams, weight_decay=0.0)
    network = scramble(tiny_network(tiny_blueprint(**NASBENCH201)))
    optimizer = Sgd.of(network.parameters(), params)
    for momentum in optimizer.buffers:
        momentum.fill_(1.0)
    grown = grown_by(network, kind)
    added = position(network.blueprint) if kind == "deepen" else None
    marks = grow_momentum(optimizer, network, grown, params, added=added)
    before = snapshot(grown)
    fresh = Sgd.of(grown.train().parameters(), params)
    for step in range(2):
        images = torch.randn(8, 3, 8, 8, generator=generator(step, "images"))
        loss = grown(images, everything(grown.blueprint)).square().sum()
        descend(fresh, [loss], learning_rate=0.1, gradient_clip=5.0)
    for (name, parameter), mark in zip(grown.named_parameters(), marks.buffers, strict=True):
        new = mark == 0
        if new.any():
            assert (parameter != before[name])[new].any(), name
