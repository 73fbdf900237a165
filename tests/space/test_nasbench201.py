"""The search space nasbench201 is the published one: counts, cells, and winners of an edge."""

import csv
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from math import ceil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pipeline.batches.randomness import generator
from pipeline.costing.cost import cost
from pipeline.deciding.decision import decide
from pipeline.harness.errors import CheckpointError, GenotypeError
from pipeline.space import blueprint as blueprints
from pipeline.space import genotype as genotypes
from pipeline.space.blueprint import Blueprint, plan
from pipeline.space.cell import State
from pipeline.space.checkpoint import Checkpoint, encode, read_checkpoint, write_checkpoint
from pipeline.space.genotype import Genotype, check_fit
from pipeline.space.network import build, discretize
from pipeline.space.operations import ResidualReduction, build_operation
from pipeline.space.params import NetworkParams
from pipeline.space.relaxation import explore, genotype_weights, hard_weights, sample
from pipeline.space.spaces.nasbench201 import NASBENCH201 as SPACE
from pipeline.space.spaces.nasbench201 import from_arch_string
from tests.conftest import (
    NASBENCH201,
    blueprints_with_genotypes,
    costly,
    identical,
    scramble,
    snapshot,
    tiny,
    tiny_blueprint,
    tiny_network,
)

NAMES = SPACE.names
PAIRS = blueprints_with_genotypes(spaces=("nasbench201",), whole=True)
PUBLISHED = plan(
    tiny(NetworkParams, **NASBENCH201, cells=15, channels=16),
    image_channels=3,
    classes=10,
    image_size=32,
)
TABLE = "ASO_SE_NASBENCH201"
"""Variable with the path of a CSV of all cells on CIFAR-10: ops, params_millions, mflops."""


def genotype(digits: str) -> Genotype:
    """Return a cell; a digit for each of the edges 0-1, 0-2, 1-2, 0-3, 1-3, 2-3."""
    a, b, c, d, e, f = (NAMES[int(digit)] for digit in digits)
    cell = from_arch_string(f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|")
    return Genotype(space="nasbench201", architectures=(cell,))


def module_of(name: str) -> nn.Module:
    layers = SPACE.operation(name).layers
    assert layers
    return build_operation(layers, 4, 1)


def published_counts(digits: str) -> tuple[float, float]:
    """Return millions of parameters and MFLOPs as the table of NAS-Bench-201 counts them."""
    found = cost(PUBLISHED, genotype(digits), (32, 32))
    return found.parameters / 1e6, found.mflops + PUBLISHED.classes / 1e6


@pytest.mark.parametrize(
    ("digits", "parameters", "mflops"),
    [
        ("000000", 0.073306, 7.78305),
        ("111111", 0.073306, 7.78305),
        ("222222", 0.241306, 31.37601),
        ("333333", 1.531546, 220.11969),
        ("444444", 0.073306, 7.78305),
        ("003000", 0.316346, 43.17249),  # leads from nothing to nowhere, and counts
        ("300100", 0.316346, 43.17249),
        ("032301", 0.587386, 82.49409),
        ("244300", 0.344346, 47.10465),
        ("421014", 0.101306, 11.71521),
        ("410034", 0.316346, 43.17249),
        ("013113", 0.559386, 78.56193),
    ],
)
def test_a_cell_costs_what_the_published_table_says(
    digits: str, parameters: float, mflops: float
) -> None:
    assert published_counts(digits) == pytest.approx((parameters, mflops), rel=0, abs=1e-9)


@pytest.mark.skipif(TABLE not in os.environ, reason=f"{TABLE} names no table")
def test_every_cell_costs_what_the_published_table_says() -> None:
    """The cost of a cell is the sum over its edges: checked on 30 built cells and on all sums."""
    with Path(os.environ[TABLE]).open() as file:
        table = {
            row["ops"]: (float(row["params_millions"]), float(row["mflops"]))
            for row in csv.DictReader(file)
        }
    assert set(table) == {"".join(digits) for digits in product("01234", repeat=6)}
    empty = np.array(published_counts("000000"))
    added = {
        (edge, digit): published_counts("0" * edge + digit + "0" * (5 - edge)) - empty
        for edge, digit in product(range(6), "01234")
    }
    summed = {
        digits: empty + sum(added[edge, digit] for edge, digit in enumerate(digits))
        for digits in table
    }
    for digits in np.random.default_rng(0).choice(sorted(table), 30):
        assert published_counts(digits) == pytest.approx(summed[digits], rel=0, abs=1e-9), digits
    for digits, counts in table.items():
        assert counts == pytest.approx(tuple(summed[digits]), rel=0, abs=1e-9), digits


def test_the_candidates_are_the_published_ones_in_their_order() -> None:
    assert NAMES == ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
    assert isinstance(module_of("skip_connect"), nn.Identity)


def test_average_pooling_leaves_the_border_out_and_has_no_weights() -> None:
    pool = module_of("avg_pool_3x3")
    assert not pool.state_dict()
    torch.testing.assert_close(pool(torch.ones(1, 4, 5, 5)), torch.ones(1, 4, 5, 5))


@given(st.tuples(*[st.integers(1, 9)] * 2))
def test_a_residual_reduction_halves_any_size_and_rounds_up(size: tuple[int, int]) -> None:
    reduction = ResidualReduction(3, 4)
    output = reduction(torch.randn(2, 3, *size))
    assert output.shape == (2, 4, ceil(size[0] / 2), ceil(size[1] / 2))


def test_the_residual_blocks_stand_at_one_and_two_thirds_and_all_cells_are_alike() -> None:
    assert [cell.channels for cell in PUBLISHED.cells] == [16] * 5 + [32] * 5 + [64] * 5
    assert [i for i, cell in enumerate(PUBLISHED.cells) if cell.kind == "reduction"] == [5, 10]
    assert (PUBLISHED.architectures, PUBLISHED.architecture_name(0)) == (1, "cell")
    assert PUBLISHED.edges == ((0, 0), (0, 1), (1, 1), (0, 2), (1, 2), (2, 2))
    alone = tiny_blueprint(**NASBENCH201, share_logits=False)
    assert [cell.architecture for cell in alone.cells] == [0, 1, 2]
    assert len({alone.architecture_name(index) for index in range(3)}) == 3


@costly
@given(PAIRS, st.integers(0, 99))
def test_a_cell_is_the_sum_that_its_genotype_writes_down(
    pair: tuple[Blueprint, Genotype], seed: int
) -> None:
    blueprint, found = pair
    network = scramble(build(blueprint, found, generator=generator(seed, "weights")), seed).eval()
    images = torch.randn(2, blueprint.image_channels, 8, 8, generator=generator(seed, "images"))
    x = network.stem(images)
    for plan_of_cell, cell, output in zip(
        blueprint.cells, network.cells, network.trunk(images), strict=True
    ):
        x = cell.reduction(x) if plan_of_cell.kind == "reduction" else x
        values = [x]
        for node, genes in enumerate(found.architectures[plan_of_cell.architecture].nodes):
            first = node * (node + 1) // 2
            terms = [
                State(values[gene.source]).through(
                    cell.edges[first + gene.source].operations[gene.operation]
                )
                for gene in genes
            ]
            values.append(torch.stack([torch.zeros_like(x), *terms]).sum(0))
        torch.testing.assert_close(output, values[-1])
        x = output
    expected = network.head(network.norm(x).relu().mean((2, 3)))
    torch.testing.assert_close(network(images), expected)


@costly
@given(PAIRS, st.tuples(*[st.integers(5, 9)] * 2))
def test_any_cell_on_the_supernet_computes_what_its_discrete_network_does(
    pair: tuple[Blueprint, Genotype], size: tuple[int, int]
) -> None:
    blueprint, found = pair
    supernet = scramble(tiny_network(blueprint)).eval()
    discrete = discretize(supernet, found).eval()
    images = torch.randn(2, blueprint.image_channels, *size)
    on_supernet = supernet(images, genotype_weights(found, blueprint))
    assert on_supernet.shape == (2, blueprint.classes)
    assert torch.equal(discrete(images), on_supernet)


def test_a_cell_that_leads_nowhere_gives_every_image_the_same_logits() -> None:
    blueprint = tiny_blueprint(**NASBENCH201)
    for digits in ("000000", "330000"):
        network = build(blueprint, genotype(digits), generator=generator(0, "weights")).eval()
        outputs = network(torch.randn(4, 3, 8, 8))
        assert torch.equal(outputs, outputs[:1].expand(4, 3))


@costly
@given(PAIRS, st.integers(0, 99))
def test_gates_give_a_gradient_to_every_logit_of_an_edge_that_reaches_the_output(
    pair: tuple[Blueprint, Genotype], seed: int
) -> None:
    blueprint, _ = pair
    network = scramble(tiny_network(blueprint))
    shape = (blueprint.architectures, 6, len(blueprint.operations))
    logits = torch.zeros(shape)
    logits[..., blueprint.none] = -99.0  # no edge is cut, so that all of them reach the output
    rows = sample(logits.requires_grad_(), temperature=1.0, generator=generator(seed, "rows"))
    images = torch.randn(4, blueprint.image_channels, 8, 8, generator=generator(seed, "images"))
    outputs = network(images, hard_weights(rows, images.device))
    (gradient,) = torch.autograd.grad(outputs.square().sum(), logits)
    assert (gradient != 0).any(-1).all()


@given(PAIRS)
def test_what_is_certain_is_decided_on_none_included(pair: tuple[Blueprint, Genotype]) -> None:
    blueprint, found = pair
    logits = torch.zeros(blueprint.architectures, 6, len(blueprint.operations))
    for architecture, edges in enumerate(genotype_weights(found, blueprint).active):
        for edge, active in enumerate(edges):
            logits[architecture, edge, list(active) or [blueprint.none]] = 9.0
    assert decide(logits, blueprint) == found


@given(PAIRS)
def test_blueprint_and_genotype_round_trip_and_name_their_space(
    pair: tuple[Blueprint, Genotype],
) -> None:
    blueprint, found = pair
    assert blueprints.from_dict(blueprint.to_dict()) == blueprint
    assert genotypes.from_dict(json.loads(found.to_json())) == found
    assert found.to_dict()["space"] == blueprint.to_dict()["space"] == "nasbench201"


def test_what_names_no_space_is_of_darts() -> None:
    blueprint = tiny_blueprint()
    decided = decide(torch.zeros(2, 5, 4), blueprint)
    assert "space" not in decided.to_dict()
    assert genotypes.from_dict(decided.to_dict()).space == "darts"
    document = blueprint.to_dict()
    del document["space"]
    assert blueprints.from_dict(document) == blueprint


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"space": "darts"}, "cell: node 0 has no incoming edge"),
        ({"space": "nasbench"}, "no search space is called 'nasbench'"),
        ({"space": ["darts"]}, "malformed"),
        (
            {
                "architectures": [
                    {"name": "cell", "nodes": [[{"source": 1, "operation": "skip_connect"}]]}
                ]
            },
            "cell: node 0 takes source 1; it may take 0 to 0",
        ),
    ],
)
def test_a_genotype_that_its_space_does_not_have_is_refused(
    changes: dict[str, object], named: str
) -> None:
    with pytest.raises(GenotypeError) as refusal:
        genotypes.from_dict({**genotype("000000").to_dict(), **changes})
    assert named in str(refusal.value)


def test_a_genotype_of_the_other_space_does_not_fit() -> None:
    blueprint = tiny_blueprint(**NASBENCH201)
    with pytest.raises(GenotypeError, match="of darts, the blueprint is of nasbench201"):
        check_fit(replace(genotype("333333"), space="darts"), blueprint)


@costly
@given(pair=PAIRS, seed=st.integers(0, 99))
def test_checkpoints_rebuild_supernet_and_discrete_network(
    pair: tuple[Blueprint, Genotype], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    blueprint, found = pair
    path = tmp_path_factory.mktemp("checkpoint") / "checkpoint.safetensors"
    supernet = scramble(tiny_network(blueprint), seed)
    logits = torch.randn(blueprint.architectures, 6, 5)
    for checkpoint in (
        Checkpoint.of(supernet, logits=logits),
        Checkpoint.of(discretize(supernet, found)),
    ):
        write_checkpoint(path, checkpoint)
        again = read_checkpoint(path).network
        assert (again.blueprint, again.genotype) == (blueprint, checkpoint.network.genotype)
        assert identical(snapshot(again), snapshot(checkpoint.network))


def foreign() -> Iterator[Blueprint]:
    good = tiny_blueprint(**NASBENCH201)
    first, *rest = good.cells
    yield replace(good, stem_channels=6)
    yield replace(good, cells=(replace(first, channels=6), *rest))
    yield replace(good, operations=(*good.operations[:-1], "sep_conv_3x3"))


@pytest.mark.parametrize("blueprint", list(foreign()))
def test_a_checkpoint_whose_blueprint_no_network_can_have_is_refused(
    blueprint: Blueprint, tmp_path: Path
) -> None:
    network = tiny_network(tiny_blueprint(**NASBENCH201))
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    facts = {"blueprint": blueprint.to_dict(), "genotype": None, "facts": {}}
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(encode(tensors, facts))
    with pytest.raises(CheckpointError, match="not a checkpoint of this version"):
        read_checkpoint(path)
    path.write_bytes(encode(tensors, {**facts, "blueprint": network.blueprint.to_dict()}))
    read_checkpoint(path)


def test_exploring_never_cuts_an_edge() -> None:
    blueprint = tiny_blueprint(**NASBENCH201)
    for number in range(20):
        path = explore(blueprint, probability=1.0, generator=generator(0, "path", number))
        assert all(edge != (blueprint.none,) for edge in path.active[0])
