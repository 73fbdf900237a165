"""What runs in a cell is what the edge weights say, and nothing more."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from math import ceil

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.batches.randomness import generator
from pipeline.space.blueprint import Blueprint, CellPlan, Kind
from pipeline.space.cell import Cell, Edge, State
from pipeline.space.network import Network
from pipeline.space.operations import build_operation
from pipeline.space.relaxation import EdgeWeights, explore, hard_weights, sample, skip_only
from pipeline.space.spaces.darts import DARTS
from tests.conftest import blueprints, costly, tiny_blueprint, tiny_network


@contextmanager
def runs(network: Network) -> Iterator[list[tuple[int, int, str]]]:
    """Record (cell, edge, operation) of every candidate that runs."""
    seen: list[tuple[int, int, str]] = []
    handles = []
    for number, cell in enumerate(network.cells):
        for index, edge in enumerate(cell.edges):
            for name, operation in edge.operations.items():
                note = partial(lambda place, *_: seen.append(place), (number, index, name))
                handles.append(operation.register_forward_hook(note))
    yield seen
    for handle in handles:
        handle.remove()


@costly
@given(blueprints(), st.integers(0, 99))
def test_a_one_hot_row_runs_only_its_operation(blueprint: Blueprint, seed: int) -> None:
    network = tiny_network(blueprint)
    logits = torch.zeros(blueprint.architectures, len(blueprint.edges), len(blueprint.operations))
    rows = sample(logits, temperature=1.0, generator=generator(seed, "path"))
    with runs(network) as seen:
        network(torch.randn(2, blueprint.image_channels, 8, 8), hard_weights(rows))
    chosen = rows.argmax(-1).tolist()
    assert sorted(seen) == sorted(
        (number, edge, blueprint.operations[operation])
        for number, cell in enumerate(blueprint.cells)
        for edge, operation in enumerate(chosen[cell.architecture])
        if blueprint.rules.operation(blueprint.operations[operation]).layers is not None
    )


def test_a_mixture_runs_every_active_operation_but_none() -> None:
    blueprint = tiny_blueprint()
    network = tiny_network(blueprint)
    everything = tuple(range(len(blueprint.operations)))
    edges = (everything,) * len(blueprint.edges)
    with runs(network) as seen:
        network(torch.randn(2, 3, 8, 8), EdgeWeights(active=(edges,) * blueprint.architectures))
    assert len(seen) == len(blueprint.cells) * len(blueprint.edges) * (len(everything) - 1)


@pytest.mark.parametrize("kind", ["normal", "reduction"])
@given(size=st.tuples(*[st.integers(1, 9)] * 2), nodes=st.integers(1, 3))
def test_a_node_whose_edges_are_all_cut_is_zeros_of_the_right_shape(
    kind: Kind, size: tuple[int, int], nodes: int
) -> None:
    cell = Cell(
        CellPlan(kind=kind, architecture=0, channels=4),
        DARTS,
        nodes=nodes,
        operations=("none", "skip_connect"),
        inputs=(3, 5),
        halve_first=False,
        architecture=None,
    )
    edges = sum(range(2, nodes + 2))
    inputs = torch.randn(2, 3, *size), torch.randn(2, 5, *size)
    stride = 2 if kind == "reduction" else 1
    shape = (2, 4 * nodes, ceil(size[0] / stride), ceil(size[1] / stride))
    for cut in ((), (0,)):  # nothing on the edge, as in a genotype; or `none`, as sampled
        output = cell(*inputs, (cut,) * edges, None, None)
        assert torch.equal(output, torch.zeros(shape))


@costly
@given(blueprints())
def test_an_auxiliary_skip_beside_edges_that_are_cut_is_a_network_of_skips(
    blueprint: Blueprint,
) -> None:
    network = tiny_network(blueprint)
    images = torch.randn(2, blueprint.image_channels, 8, 8)
    cut = (() if blueprint.none is None else (blueprint.none,),) * len(blueprint.edges)
    auxiliary = EdgeWeights(active=(cut,) * blueprint.architectures, auxiliary=1.0)
    assert torch.equal(network(images, auxiliary), network(images, skip_only(blueprint)))


def test_a_gate_scales_the_output_of_its_operation() -> None:
    edge = Edge(("none", "skip_connect", "avg_pool_3x3"), DARTS, 4, 1).eval()
    images, gates = torch.randn(2, 4, 5, 5), torch.tensor([0.5, 0.25, 0.25])
    pooled = edge.operations["avg_pool_3x3"](images)
    mixed = edge(State(images), (0, 1, 2), gates, None)
    assert torch.equal(mixed, images * 0.25 + pooled * 0.25)
    assert edge(State(images), (0,), gates, None) is None


def test_drop_path_spares_skip_connections() -> None:
    state = State(torch.randn(64, 4, 3, 3))
    kept = (torch.arange(64) % 2 * 2.0).view(64, 1, 1, 1)
    edge = Edge(("skip_connect", "avg_pool_3x3"), DARTS, 4, 1)
    assert torch.equal(edge(state, (0,), None, kept), state.plain)
    pooled = edge(state, (1,), None, None)
    assert pooled is not None
    assert torch.equal(edge(state, (1,), None, kept), pooled * kept)


@pytest.mark.parametrize("stride", [1, 2])
def test_the_relu_of_a_state_is_computed_once_and_is_that_of_each_operation(stride: int) -> None:
    names = ("sep_conv_3x3", "dil_conv_5x5", "skip_connect", "max_pool_3x3")
    edge, images = Edge(names, DARTS, 4, stride).eval(), torch.randn(2, 4, 8, 8)
    state = State(images)
    for index, name in enumerate(names):
        alone = build_operation(DARTS.operation(name).layers or (), 4, stride).eval()
        alone.load_state_dict(edge.operations[name].state_dict())
        assert torch.equal(edge(state, (index,), None, None), alone(images))
    with torch.profiler.profile() as seen:
        edge(State(images), (0, 1), None, None)
    assert [one.count for one in seen.key_averages() if one.key == "aten::relu"] == [1]


def test_explored_paths_give_no_gradient_to_operations_that_do_not_run() -> None:
    blueprint = tiny_blueprint()
    network = tiny_network(blueprint)
    path = explore(blueprint, probability=1.0, generator=generator(0, "path"))
    with runs(network) as seen:
        network(torch.randn(4, 3, 8, 8), path).square().sum().backward()
    for number, cell in enumerate(network.cells):
        for index, edge in enumerate(cell.edges):
            for name, operation in edge.operations.items():
                ran = (number, index, name) in seen
                assert all((p.grad is not None) == ran for p in operation.parameters())
