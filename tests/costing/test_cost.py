"""Costs are those of the network that would be built, counted by hand where that is possible."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from pipeline.costing.cost import cost, least
from pipeline.space.architecture import Architecture, Gene
from pipeline.space.blueprint import Blueprint, CellPlan
from pipeline.space.genotype import Genotype
from pipeline.space.network import Network
from pipeline.space.registry import SPACES
from tests.conftest import blueprints_with_genotypes, costly

ONE_CELL = Blueprint(
    image_channels=3,
    classes=2,
    nodes=1,
    operations=SPACES["darts"].names,
    stem_channels=4,
    cells=(CellPlan(kind="normal", architecture=0, channels=4),),
)


def genotype(operation: str) -> Genotype:
    genes = (Gene(source=0, operation=operation), Gene(source=1, operation="skip_connect"))
    return Genotype(architectures=(Architecture(name="normal", nodes=(genes,)),))


@costly
@given(blueprints_with_genotypes(), st.integers(1, 9), st.integers(1, 9))
def test_costs_are_those_of_the_network_that_is_built(
    pair: tuple[Blueprint, Genotype], height: int, width: int
) -> None:
    blueprint, genotype = pair
    with torch.device("meta"), torch.no_grad():
        network = Network(blueprint, genotype).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, blueprint.image_channels, height, width))
    found = cost(blueprint, genotype, (height, width))
    assert found.parameters == sum(parameter.numel() for parameter in network.parameters())
    # torch counts a multiply-add as two operations.
    assert found.mflops * 2e6 == pytest.approx(counter.get_total_flops())


@costly
@given(blueprints_with_genotypes(), st.sampled_from(["parameters", "mflops", "kilobytes"]))
def test_no_network_costs_less_than_the_least(pair: tuple[Blueprint, Genotype], name: str) -> None:
    blueprint, genotype = pair
    fewest = min(len(genes) for one in genotype.architectures for genes in one.nodes)
    lowest = least(blueprint, (8, 8), name, edges_per_node=fewest)
    assert lowest <= cost(blueprint, genotype, (8, 8)).value(name) + 1e-9


def test_a_network_of_skip_connections_costs_what_counting_by_hand_gives() -> None:
    # 8x8 images are 64 pixels. Stem, 3 to 4 channels, 3x3: 3 * 4 * 9 * 64 = 6912 multiply-adds.
    # Both inputs of the cell, 1x1, 4 to 4: 2 * 4 * 4 * 64 = 2048. The head, 4 to 2: 8.
    found = cost(ONE_CELL, genotype("skip_connect"), (8, 8))
    assert found.mflops * 1e6 == pytest.approx(6912 + 2048 + 8)
    # Stem 108 + 8 of its norm; inputs 2 * (16 + 8); head 8 + 2.
    assert found.parameters == 116 + 48 + 10


@pytest.mark.parametrize(
    ("operation", "multiply_adds_per_pixel", "parameters"),
    [
        # C = 4 channels; a depthwise k x k convolution is k * k * C, a pointwise one C * C = 16;
        # a BatchNorm has 2 * C = 8 parameters and counts as no multiply-add.
        ("max_pool_3x3", 0, 8),
        ("avg_pool_3x3", 0, 8),
        ("skip_connect", 0, 0),
        ("sep_conv_3x3", 2 * (36 + 16), 2 * (36 + 16 + 8)),
        ("sep_conv_5x5", 2 * (100 + 16), 2 * (100 + 16 + 8)),
        ("sep_conv_7x7", 2 * (196 + 16), 2 * (196 + 16 + 8)),
        ("dil_conv_3x3", 36 + 16, 36 + 16 + 8),
        ("dil_conv_5x5", 100 + 16, 100 + 16 + 8),
        ("conv_7x1_1x7", 2 * 7 * 16, 2 * 7 * 16 + 8),
        ("conv_1x1", 16, 16 + 8),
        ("conv_3x3", 9 * 16, 9 * 16 + 8),
    ],
)
def test_one_operation_costs_what_counting_by_hand_gives(
    operation: str, multiply_adds_per_pixel: int, parameters: int
) -> None:
    one, without = (cost(ONE_CELL, genotype(name), (8, 8)) for name in (operation, "skip_connect"))
    extra = (one.mflops - without.mflops) * 1e6
    assert extra == pytest.approx(64 * multiply_adds_per_pixel, abs=1e-3)
    assert one.parameters - without.parameters == parameters
