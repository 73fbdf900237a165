"""A grown network computes what the smaller one did, and learns with all its weights."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipeline.batches.randomness import generator
from pipeline.events.event import Kind
from pipeline.growing.blueprints import deepen, position, widen
from pipeline.growing.morph import grow, grow_logits, grow_momentum, spread
from pipeline.space.blueprint import Blueprint
from pipeline.space.network import Network
from pipeline.space.registry import SPACES
from pipeline.space.relaxation import EdgeWeights, explore, skip_only
from pipeline.training.optimizers import Adam, Sgd
from pipeline.training.params import TrainingParams
from pipeline.training.steps import descend
from tests.conftest import (
    blueprints,
    costly,
    identical,
    of_space,
    scramble,
    snapshot,
    tiny,
    tiny_blueprint,
    tiny_network,
)

KINDS = st.sampled_from(["deepen", "widen"])
GROWTHS = st.lists(st.tuples(KINDS, st.floats(1.1, 3.0)), min_size=1, max_size=2)
Path = Callable[[Blueprint], EdgeWeights]


def grown_by(network: Network, kind: Kind, factor: float = 1.5) -> Network:
    blueprint, source = network.blueprint, generator(0, "growth")
    if kind == "deepen":
        added = position(blueprint)
        return grow(network, deepen(blueprint), added=added, generator=source)
    return grow(network, widen(blueprint, factor), added=None, generator=source)


def everything(blueprint: Blueprint) -> EdgeWeights:
    """Return weights with which every candidate runs on every edge."""
    edges = (tuple(range(len(blueprint.operations))),) * len(blueprint.edges)
    return EdgeWeights(active=(edges,) * blueprint.architectures)


def explored(seed: int, old: Blueprint) -> Path:
    """Return one path of the old blueprint; a new cell's part of it must not matter."""

    def path(blueprint: Blueprint) -> EdgeWeights:
        known = explore(old, probability=1.0, generator=generator(seed, "path")).active
        new = explore(blueprint, probability=1.0, generator=generator(seed, "new")).active
        return EdgeWeights(active=known + new[len(known) :])

    return path


@torch.no_grad()
def difference(before: Network, after: Network, images: Tensor, path: Path) -> float:
    """Return the largest difference of logits, relative to logits where those are above 1."""
    old, new = (net.eval()(images, path(net.blueprint)) for net in (before, after))
    return float((old - new).abs().max() / old.abs().max().clamp_min(1))


@pytest.mark.parametrize("space", SPACES)
@costly
@given(st.data(), GROWTHS, st.integers(0, 99))
def test_growing_keeps_the_outputs_of_any_network_however_often(
    space: str, data: st.DataObject, growths: list[tuple[Kind, float]], seed: int
) -> None:
    blueprint = data.draw(blueprints(spaces=(space,)))
    images = torch.randn(2, blueprint.image_channels, 8, 8, generator=generator(seed, "images"))
    network = tiny_network(blueprint)
    for kind, factor in growths:
        scramble(network, seed)
        grown = grown_by(network, kind, factor)
        some = explored(seed, network.blueprint)
        assert difference(network, grown, images, skip_only) < 1e-5
        assert difference(network, grown, images, some) < 1e-5
        for path in (skip_only, some, everything):
            assert difference(network.double(), grown.double(), images.double(), path) < 1e-10
        network = grown.float()


@costly
@given(blueprints(), KINDS)
def test_growing_leaves_the_smaller_network_bit_identical(blueprint: Blueprint, kind: Kind) -> None:
    network = scramble(tiny_network(blueprint))
    before = snapshot(network)
    grown = grown_by(network, kind)
    with torch.no_grad():
        for parameter in grown.parameters():
            parameter.fill_(7.0)
    assert identical(snapshot(network), before)


@pytest.mark.parametrize("training", [True, False])
def test_a_grown_network_stays_in_its_mode(training: bool) -> None:
    network = tiny_network().train(training)
    assert grown_by(network, "deepen").training == training


@pytest.mark.parametrize("space", SPACES)
@costly
@given(st.data(), GROWTHS)
def test_momentum_stays_with_its_weights_and_new_weights_have_none(
    space: str, data: st.DataObject, growths: list[tuple[Kind, float]]
) -> None:
    blueprint = data.draw(blueprints(spaces=(space,)))
    params = tiny(TrainingParams)
    network = tiny_network(blueprint)
    for kind, factor in growths:
        # Weights that are nowhere 0, and each its own momentum: so every one can be followed.
        optimizer = Sgd.of(scramble(network).parameters(), params)
        with torch.no_grad():
            for parameter, momentum in zip(network.parameters(), optimizer.buffers, strict=True):
                parameter.add_(torch.where(parameter == 0, 1.0, 0.0))
                momentum.copy_(parameter)
        grown = grown_by(network, kind, factor)
        added = position(network.blueprint) if kind == "deepen" else None
        following = grow_momentum(optimizer, network, grown, params, added=added)
        for parameter, momentum in zip(grown.parameters(), following.buffers, strict=True):
            assert torch.equal(momentum[momentum != 0], parameter[momentum != 0])
        kept = torch.cat([momentum[momentum != 0] for momentum in following.buffers])
        old = torch.cat([parameter.detach().flatten() for parameter in network.parameters()])
        assert torch.equal(kept.sort().values, old.sort().values)
        network = grown


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("share_logits", [True, False])
@pytest.mark.parametrize("kind", ["deepen", "widen"])
def test_all_new_weights_learn_within_a_few_steps(
    kind: Kind, share_logits: bool, space: str
) -> None:
    blueprint = tiny_blueprint(**{"share_logits": share_logits, **of_space(space)})
    params = tiny(TrainingParams, weight_decay=0.0)
    network = scramble(tiny_network(blueprint))
    optimizer = Sgd.of(network.parameters(), params)
    for momentum in optimizer.buffers:
        momentum.fill_(1.0)
    grown = grown_by(network, kind)
    added = position(blueprint) if kind == "deepen" else None
    marks = grow_momentum(optimizer, network, grown, params, added=added)
    new = {
        name: momentum == 0
        for (name, _), momentum in zip(grown.named_parameters(), marks.buffers, strict=True)
    }
    assert any(mark.any() for mark in new.values())
    before = snapshot(grown)
    fresh = Sgd.of(grown.train().parameters(), params)
    for step in range(5):  # the scale of a norm before a depthwise layer needs its bias to move
        images = torch.randn(8, 3, 8, 8, generator=generator(step, "images"))
        loss = grown(images, everything(grown.blueprint)).square().sum()
        descend(fresh, [loss], learning_rate=0.1)
    for name, parameter in grown.named_parameters():
        if new[name].any():
            assert (parameter != before[name])[new[name]].any(), name


@given(old=st.integers(2, 20), more=st.integers(0, 20))
def test_spread_channels_are_distinct_and_keep_their_order_and_halves(old: int, more: int) -> None:
    small, large = 2 * old, 2 * (old + more)
    places = spread(small, large).tolist()
    assert all(one < other for one, other in pairwise(places))
    assert all(place < large // 2 for place in places[:old])
    assert all(large // 2 <= place < large for place in places[old:])


@given(blueprints(), KINDS)
def test_logits_and_their_moments_are_kept_and_new_ones_begin_with_their_mean_square(
    blueprint: Blueprint, kind: Kind
) -> None:
    target = deepen(blueprint) if kind == "deepen" else widen(blueprint, 1.5)
    shape = (blueprint.architectures, len(blueprint.edges), len(blueprint.operations))
    logits = torch.randn(shape, generator=generator(0, "logits")).requires_grad_()
    optimizer = Adam(logits, 0.25)
    optimizer.step(2 * logits.detach())
    fresh = torch.full((target.architectures, *shape[1:]), 9.0)
    grown, following = grow_logits(logits, optimizer, fresh)
    known = len(logits)
    assert grown.shape == fresh.shape
    assert torch.equal(grown[:known], logits)
    assert (grown[known:] == 9).all()
    for old, new in ((optimizer.mean, following.mean), (optimizer.square, following.square)):
        assert torch.equal(new[:known], old)
    assert (following.mean[known:] == 0).all()
    assert all(torch.equal(one, optimizer.square.mean(0)) for one in following.square[known:])
    assert following.steps == 1
    assert following.learning_rate == 0.25
    before = logits.detach().clone(), optimizer.mean.clone()
    following.step(2 * grown.detach())
    assert torch.equal(logits, before[0])
    assert torch.equal(optimizer.mean, before[1])
    assert (optimizer.steps, following.steps) == (1, 2)


def test_the_first_steps_of_a_new_cells_logits_are_no_longer_than_those_of_the_others() -> None:
    logits = torch.zeros(2, 5, 4, requires_grad=True)
    optimizer = Adam(logits, 0.1)
    source = generator(0, "gradients")
    for _ in range(200):
        optimizer.step(torch.randn(logits.shape, generator=source))
    grown, following = grow_logits(logits, optimizer, torch.zeros(3, 5, 4))
    for _ in range(10):
        before = grown.detach().clone()
        following.step(torch.randn(grown.shape, generator=source))
        moved = (grown.detach() - before).abs().mean((1, 2))
        assert moved[2] < 2 * moved[:2].max()


def test_logits_that_have_not_moved_yet_grow_too() -> None:
    logits = torch.zeros(2, 5, 4, requires_grad=True)
    grown, following = grow_logits(logits, Adam(logits, 0.1), torch.ones(3, 5, 4))
    assert grown[:, 0, 0].tolist() == [0, 0, 1]
    assert (following.steps, following.mean.abs().sum()) == (0, 0)
