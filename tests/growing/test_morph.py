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
from pipeline.growing.blueprints import position
from pipeline.growing.morph import grow, grow_logits, grow_momentum, mutate, spread
from pipeline.growing.params import GrowthParams
from pipeline.growing.policy import grown
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

Path = Callable[[Blueprint], EdgeWeights]


def kinds_of(space: str) -> list[Kind]:
    """Return the kinds of growth that a space has."""
    return ["deepen", "widen", *(["node"] if SPACES[space].concatenates else [])]


KINDS_IN_SPACES = [(kind, space) for space in SPACES for kind in kinds_of(space)]


def growths_in(space: str) -> st.SearchStrategy[list[tuple[Kind, float]]]:
    """One or two growths, with the factor of a widening."""
    kinds = st.sampled_from(kinds_of(space))
    return st.lists(st.tuples(kinds, st.floats(1.1, 3.0)), min_size=1, max_size=2)


def larger(blueprint: Blueprint, kind: Kind, factor: float = 1.5) -> Blueprint:
    return grown(blueprint, kind, tiny(GrowthParams, widen_factor=factor))


def added_by(blueprint: Blueprint, kind: Kind) -> int | None:
    return position(blueprint) if kind == "deepen" else None


def grown_by(network: Network, kind: Kind, factor: float = 1.5) -> Network:
    target, added = larger(network.blueprint, kind, factor), added_by(network.blueprint, kind)
    return grow(network, target, added=added, generator=generator(0, "growth"))


def everything(blueprint: Blueprint) -> EdgeWeights:
    """Return weights with which every candidate runs on every edge."""
    edges = (tuple(range(len(blueprint.operations))),) * len(blueprint.edges)
    return EdgeWeights(active=(edges,) * blueprint.architectures)


def explored(seed: int, old: Blueprint) -> Path:
    """Return one path of the old blueprint; what is new in it must not matter."""

    def path(blueprint: Blueprint) -> EdgeWeights:
        known = explore(old, probability=1.0, generator=generator(seed, "path")).active
        new = list(explore(blueprint, probability=1.0, generator=generator(seed, "new")).active)
        for index, edges in enumerate(known):
            new[index] = edges + new[index][len(edges) :]
        return EdgeWeights(active=tuple(new))

    return path


@torch.no_grad()
def difference(before: Network, after: Network, images: Tensor, path: Path) -> float:
    """Return the largest difference of logits, relative to logits where those are above 1."""
    old, new = (net.eval()(images, path(net.blueprint)) for net in (before, after))
    return float((old - new).abs().max() / old.abs().max().clamp_min(1))


@pytest.mark.parametrize("space", SPACES)
@costly
@given(st.data(), st.integers(0, 99))
def test_growing_keeps_the_outputs_of_any_network_however_often(
    space: str, data: st.DataObject, seed: int
) -> None:
    blueprint, growths = data.draw(blueprints(spaces=(space,))), data.draw(growths_in(space))
    images = torch.randn(2, blueprint.image_channels, 8, 8, generator=generator(seed, "images"))
    network = tiny_network(blueprint)
    for kind, factor in growths:
        scramble(network, seed)
        after = grown_by(network, kind, factor)
        some = explored(seed, network.blueprint)
        assert difference(network, after, images, skip_only) < 1e-5
        assert difference(network, after, images, some) < 1e-5
        for path in (skip_only, some, everything):
            assert difference(network.double(), after.double(), images.double(), path) < 1e-10
        network = after.float()


@costly
@given(blueprints(), st.data())
def test_growing_leaves_the_smaller_network_bit_identical(
    blueprint: Blueprint, data: st.DataObject
) -> None:
    network = scramble(tiny_network(blueprint))
    before = snapshot(network)
    after = grown_by(network, data.draw(st.sampled_from(kinds_of(blueprint.space))))
    with torch.no_grad():
        for parameter in after.parameters():
            parameter.fill_(7.0)
    assert identical(snapshot(network), before)


@pytest.mark.parametrize("training", [True, False])
def test_a_grown_network_stays_in_its_mode(training: bool) -> None:
    network = tiny_network().train(training)
    assert grown_by(network, "deepen").training == training


@pytest.mark.parametrize("space", SPACES)
@costly
@given(st.data())
def test_momentum_stays_with_its_weights_and_new_weights_have_none(
    space: str, data: st.DataObject
) -> None:
    blueprint, growths = data.draw(blueprints(spaces=(space,))), data.draw(growths_in(space))
    params = tiny(TrainingParams)
    network = tiny_network(blueprint)
    for kind, factor in growths:
        # Weights that are nowhere 0, and each its own momentum: so every one can be followed.
        optimizer = Sgd.of(scramble(network).parameters(), params)
        with torch.no_grad():
            for parameter, momentum in zip(network.parameters(), optimizer.buffers, strict=True):
                parameter.add_(torch.where(parameter == 0, 1.0, 0.0))
                momentum.copy_(parameter)
        after = grown_by(network, kind, factor)
        added = added_by(network.blueprint, kind)
        following = grow_momentum(optimizer, network, after, params, added=added)
        for parameter, momentum in zip(after.parameters(), following.buffers, strict=True):
            assert torch.equal(momentum[momentum != 0], parameter[momentum != 0])
        kept = torch.cat([momentum[momentum != 0] for momentum in following.buffers])
        old = torch.cat([parameter.detach().flatten() for parameter in network.parameters()])
        assert torch.equal(kept.sort().values, old.sort().values)
        network = after


@pytest.mark.parametrize("share_logits", [True, False])
@pytest.mark.parametrize(("kind", "space"), KINDS_IN_SPACES)
def test_all_new_weights_learn_within_a_few_steps(
    kind: Kind, share_logits: bool, space: str
) -> None:
    blueprint = tiny_blueprint(**{"share_logits": share_logits, **of_space(space)})
    params = tiny(TrainingParams, weight_decay=0.0)
    network = scramble(tiny_network(blueprint))
    optimizer = Sgd.of(network.parameters(), params)
    for momentum in optimizer.buffers:
        momentum.fill_(1.0)
    after = grown_by(network, kind)
    marks = grow_momentum(optimizer, network, after, params, added=added_by(blueprint, kind))
    new = {
        name: momentum == 0
        for (name, _), momentum in zip(after.named_parameters(), marks.buffers, strict=True)
    }
    assert any(mark.any() for mark in new.values())
    before = snapshot(after)
    fresh = Sgd.of(after.train().parameters(), params)
    for step in range(5):  # the scale of a norm before a depthwise layer needs its bias to move
        images = torch.randn(8, 3, 8, 8, generator=generator(step, "images"))
        loss = after(images, everything(after.blueprint)).square().sum()
        descend(fresh, [loss], learning_rate=0.1)
    for name, parameter in after.named_parameters():
        if new[name].any():
            assert (parameter != before[name])[new[name]].any(), name


@given(old=st.integers(2, 20), more=st.integers(0, 20))
def test_spread_channels_are_distinct_and_keep_their_order_and_halves(old: int, more: int) -> None:
    small, large = 2 * old, 2 * (old + more)
    places = spread(small, large).tolist()
    assert all(one < other for one, other in pairwise(places))
    assert all(place < large // 2 for place in places[:old])
    assert all(large // 2 <= place < large for place in places[old:])


@given(blueprints(), st.data())
def test_logits_and_their_moments_are_kept_and_new_ones_begin_with_their_mean_square(
    blueprint: Blueprint, data: st.DataObject
) -> None:
    target = larger(blueprint, data.draw(st.sampled_from(kinds_of(blueprint.space))))
    shape = (blueprint.architectures, len(blueprint.edges), len(blueprint.operations))
    logits = torch.randn(shape, generator=generator(0, "logits")).requires_grad_()
    optimizer = Adam(logits, 0.25)
    optimizer.step(2 * logits.detach())
    fresh = torch.full((target.architectures, len(target.edges), shape[2]), 9.0)
    after, following = grow_logits(logits, optimizer, fresh)
    known, edges = shape[:2]
    assert after.shape == fresh.shape
    assert torch.equal(after[:known, :edges], logits)
    assert (after == 9).sum() == fresh.numel() - logits.numel()
    for old, new in ((optimizer.mean, following.mean), (optimizer.square, following.square)):
        assert torch.equal(new[:known, :edges], old)
    assert (following.mean[known:] == 0).all()
    assert (following.mean[:, edges:] == 0).all()
    square = optimizer.square
    assert all(torch.equal(one[:edges], square.mean(0)) for one in following.square[known:])
    assert (following.square[:, edges:] == square.mean((0, 1))).all()
    assert following.steps == 1
    assert following.learning_rate == 0.25
    before = logits.detach().clone(), optimizer.mean.clone()
    following.step(2 * after.detach())
    assert torch.equal(logits, before[0])
    assert torch.equal(optimizer.mean, before[1])
    assert (optimizer.steps, following.steps) == (1, 2)


def test_the_first_steps_of_a_new_cells_logits_are_no_longer_than_those_of_the_others() -> None:
    logits = torch.zeros(2, 5, 4, requires_grad=True)
    optimizer = Adam(logits, 0.1)
    source = generator(0, "gradients")
    for _ in range(200):
        optimizer.step(torch.randn(logits.shape, generator=source))
    after, following = grow_logits(logits, optimizer, torch.zeros(3, 5, 4))
    for _ in range(10):
        before = after.detach().clone()
        following.step(torch.randn(after.shape, generator=source))
        moved = (after.detach() - before).abs().mean((1, 2))
        assert moved[2] < 2 * moved[:2].max()


def test_logits_that_have_not_moved_yet_grow_too() -> None:
    logits = torch.zeros(2, 5, 4, requires_grad=True)
    after, following = grow_logits(logits, Adam(logits, 0.1), torch.ones(3, 5, 4))
    assert after[:, 0, 0].tolist() == [0, 0, 1]
    assert (following.steps, following.mean.abs().sum()) == (0, 0)


def test_only_the_edges_of_a_mutation_begin_anew() -> None:
    logits = torch.randn(2, 5, 4, generator=generator(0, "logits")).requires_grad_()
    optimizer = Adam(logits, 0.1)
    optimizer.step(2 * logits.detach())
    before = logits.detach().clone(), optimizer.mean.clone(), optimizer.square.clone()
    edges = torch.zeros(2, 5, dtype=torch.bool)
    edges[1, 3] = True
    mutate(logits, optimizer, torch.full((2, 5, 4), 9.0), edges)
    assert (logits[1, 3] == 9).all()
    assert (optimizer.mean[1, 3] == 0).all()
    assert torch.equal(optimizer.square[1, 3], before[2].mean((0, 1)))
    for new, old in zip((logits, optimizer.mean, optimizer.square), before, strict=True):
        assert torch.equal(new[~edges], old[~edges])
