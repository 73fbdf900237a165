"""A network holds all candidates or a genotype's; the active ones are passed in, not stored."""

from dataclasses import replace
from itertools import pairwise
from math import ceil

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.batches.randomness import generator
from pipeline.deciding.decision import decide
from pipeline.harness.errors import GenotypeError
from pipeline.space.batch_norm import untracked_statistics
from pipeline.space.blueprint import Blueprint
from pipeline.space.genotype import Genotype
from pipeline.space.network import build, constant, discretize, initialize
from pipeline.space.relaxation import (
    EdgeWeights,
    explore,
    genotype_weights,
    hard_weights,
    sample,
    skip_only,
)
from tests.conftest import (
    blueprints,
    blueprints_with_genotypes,
    costly,
    identical,
    scramble,
    snapshot,
    tiny_blueprint,
    tiny_network,
)

SIZES = st.tuples(*[st.integers(7, 10)] * 2)


@costly
@given(blueprints_with_genotypes(), SIZES)
def test_any_genotype_of_any_blueprint_builds_and_keeps_the_shape(
    pair: tuple[Blueprint, Genotype], size: tuple[int, int]
) -> None:
    blueprint, genotype = pair
    network = build(blueprint, genotype, generator=generator(0, "weights"))
    outputs = list(network.trunk(torch.randn(2, blueprint.image_channels, *size)))
    size = blueprint.after_stem(*size)
    for plan, output in zip(blueprint.cells, outputs, strict=True):
        size = tuple(ceil(side / 2) for side in size) if plan.kind == "reduction" else size
        assert output.shape == (2, blueprint.output_nodes * plan.channels, *size)
    assert network.classify(outputs[-1]).shape == (2, blueprint.classes)


@costly
@given(blueprints(), SIZES, st.integers(0, 99))
def test_any_path_of_any_supernet_keeps_the_shape(
    blueprint: Blueprint, size: tuple[int, int], seed: int
) -> None:
    network = tiny_network(blueprint)
    path = explore(blueprint, probability=1.0, generator=generator(seed, "path"))
    images = torch.randn(2, blueprint.image_channels, *size)
    assert network(images, path).shape == (2, blueprint.classes)


@costly
@given(blueprints_with_genotypes())
def test_a_genotype_on_the_supernet_computes_what_its_discrete_network_does(
    pair: tuple[Blueprint, Genotype],
) -> None:
    blueprint, genotype = pair
    supernet = scramble(tiny_network(blueprint)).eval()
    discrete = discretize(supernet, genotype).eval()
    images = torch.randn(2, blueprint.image_channels, 8, 8)
    on_supernet = supernet(images, genotype_weights(genotype, blueprint))
    assert torch.equal(discrete(images), on_supernet)


def test_a_discrete_network_has_copies_of_the_weights() -> None:
    supernet = tiny_network()
    discrete = discretize(supernet, decide(torch.zeros(2, 5, 4), supernet.blueprint))
    before = snapshot(supernet)
    with torch.no_grad():
        for parameter in discrete.parameters():
            parameter.zero_()
    assert identical(snapshot(supernet), before)


@costly
@given(blueprints(spaces=("darts",)), st.integers(0, 99))
def test_gates_give_a_gradient_to_every_logit_of_every_edge_that_is_not_cut(
    blueprint: Blueprint, seed: int
) -> None:
    network = scramble(tiny_network(blueprint))
    shape = (blueprint.architectures, len(blueprint.edges), len(blueprint.operations))
    logits = torch.zeros(shape)
    logits[..., blueprint.none] = -2
    rows = sample(logits.requires_grad_(), temperature=1.0, generator=generator(seed, "rows"))
    cut = rows.argmax(-1) == blueprint.none
    assume(not cut[:, :2].any())  # so that every cell reads both cells before it
    images = torch.randn(4, blueprint.image_channels, 8, 8, generator=generator(seed, "images"))
    outputs = network(images, hard_weights(rows, images.device))
    (gradient,) = torch.autograd.grad(outputs.square().sum(), logits)
    assert torch.equal((gradient != 0).all(-1), ~cut)
    assert torch.equal((gradient == 0).all(-1), cut)


def test_a_network_whose_edges_are_all_cut_still_gives_logits() -> None:
    network = tiny_network()
    nothing = EdgeWeights(active=(((),) * 5,) * 2)
    bias = network.head.bias.detach()
    assert torch.equal(network(torch.randn(4, 3, 8, 8), nothing), bias.expand(4, 3))


def test_equal_seeds_build_equal_networks_and_others_do_not() -> None:
    first, again, other = (snapshot(tiny_network(seed=seed)) for seed in (0, 0, 1))
    assert identical(first, again)
    assert not identical(first, other)


def test_building_does_not_touch_the_global_generator() -> None:
    before = torch.get_rng_state()
    tiny_network()
    assert torch.equal(torch.get_rng_state(), before)


@costly
@given(blueprints())
def test_initial_weights_reach_every_tensor(blueprint: Blueprint) -> None:
    cells = (*blueprint.cells, replace(blueprint.cells[-1], kind="normal", grown=True))
    network = tiny_network(replace(blueprint, cells=cells))
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.fill_(float("nan"))
    initialize(network, generator(0, "weights"))
    assert all(tensor.isfinite().all() for tensor in network.state_dict().values())


def test_a_network_is_laid_out_channels_last() -> None:
    network = tiny_network()
    assert all(
        weight.is_contiguous(memory_format=torch.channels_last)
        for weight in network.parameters()
        if weight.dim() == 4
    )


def test_resolution_halves_only_in_reduction_cells() -> None:
    network = tiny_network(tiny_blueprint(cells=6))
    sizes = [
        output.shape[-1]
        for output in network.trunk(torch.randn(2, 3, 9, 9), skip_only(network.blueprint))
    ]
    for plan, (before, after) in zip(network.blueprint.cells, pairwise([9, *sizes]), strict=True):
        assert after == (ceil(before / 2) if plan.kind == "reduction" else before)


def good() -> tuple[Blueprint, Genotype]:
    blueprint = tiny_blueprint()
    return blueprint, decide(torch.zeros(2, 5, 4), blueprint)


def test_a_genotype_with_too_few_architectures_is_refused() -> None:
    blueprint, genotype = good()
    with pytest.raises(GenotypeError, match="1 architectures, the blueprint has 2"):
        build(
            blueprint,
            Genotype(architectures=genotype.architectures[:1]),
            generator=torch.Generator(),
        )


def test_a_genotype_with_another_number_of_nodes_is_refused() -> None:
    blueprint, genotype = good()
    with pytest.raises(GenotypeError, match="normal has 2 nodes, the blueprint 3"):
        discretize(tiny_network(replace(blueprint, nodes=3)), genotype)


@pytest.mark.parametrize("operation", ["none", "conv_1x1", "teleport"])
def test_an_operation_that_is_no_candidate_is_refused_by_name(operation: str) -> None:
    blueprint, genotype = good()
    first, second = genotype.architectures
    gene = replace(first.nodes[0][0], operation=operation)
    broken = replace(first, nodes=((gene,), *first.nodes[1:]))
    with pytest.raises(GenotypeError, match=f"normal has {operation}, no candidate"):
        build(blueprint, Genotype(architectures=(broken, second)), generator=torch.Generator())


def test_untracked_statistics_leave_the_running_ones_bit_identical_and_then_track_again() -> None:
    network = scramble(tiny_network())
    images, path = torch.randn(4, 3, 8, 8), skip_only(network.blueprint)
    before = snapshot(network)
    with untracked_statistics():
        untracked = network(images, path)
    assert identical(snapshot(network), before)
    assert torch.equal(network(images, path), untracked)
    assert not identical(snapshot(network), before)


def test_statistics_are_tracked_again_after_an_error() -> None:
    network = tiny_network()
    with pytest.raises(RuntimeError, match="on the way"), untracked_statistics():
        raise RuntimeError("on the way")
    before = snapshot(network)
    network(torch.randn(4, 3, 8, 8), skip_only(network.blueprint))
    assert not identical(snapshot(network), before)


def test_constant_weights_learn_again_afterwards_whatever_happened() -> None:
    network = tiny_network()
    images = torch.randn(2, 3, 9, 9)
    with constant(list(network.parameters())):
        assert not network(images, skip_only(network.blueprint)).requires_grad
    with pytest.raises(RuntimeError, match="on the way"), constant(list(network.parameters())):
        raise RuntimeError("on the way")
    assert all(parameter.requires_grad for parameter in network.parameters())
