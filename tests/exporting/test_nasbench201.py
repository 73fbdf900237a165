"""A cell of nasbench201 is exported like any other, even if no path leads to its output."""

from dataclasses import replace

import pytest
from torch import Tensor

from pipeline.batches.randomness import generator
from pipeline.exporting.architecture import architecture_of
from pipeline.exporting.card import Export, model_card
from pipeline.exporting.onnx_file import ModelFacts, export_onnx
from pipeline.exporting.parity import Parity, measure_parity, require_parity
from pipeline.space.genotype import Genotype
from pipeline.space.network import Network, build
from pipeline.space.spaces.nasbench201 import from_arch_string
from tests.conftest import NASBENCH201, scramble, tiny_blueprint

pytestmark = pytest.mark.xdist_group("exporting")

CELLS = {
    "all operations": "|nor_conv_3x3~0|+|none~0|avg_pool_3x3~1|"
    "+|skip_connect~0|nor_conv_1x1~1|avg_pool_3x3~2|",
    "nothing arrives": "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|none~0|none~1|none~2|",
}


def network_of(cell: str) -> Network:
    genotype = Genotype(space="nasbench201", architectures=(from_arch_string(CELLS[cell]),))
    blueprint = replace(tiny_blueprint(**NASBENCH201), classes=5)
    return scramble(build(blueprint, genotype, generator=generator(0, "network"))).eval()


@pytest.mark.parametrize("cell", CELLS)
def test_an_export_agrees_with_torch(cell: str, facts: ModelFacts, pixels: Tensor) -> None:
    network = network_of(cell)
    exported = export_onnx(network, facts)
    parity = measure_parity(exported, network, pixels, facts.mean, facts.std)
    require_parity(parity, 1e-5)
    assert parity.agreement == 1


def test_the_card_shows_every_node_and_the_published_notation(facts: ModelFacts) -> None:
    architecture = architecture_of(network_of("nothing arrives"))
    parity = Parity(images=1, max_difference=0.0, agreement=1.0)
    card = model_card(
        Export(facts=facts, metrics={}, parity=parity, architecture=architecture, dataset="cifar10")
    )
    assert "| cell | 0 | `nor_conv_3x3` of the cell's input |" in card
    assert "| cell | 1 | `nor_conv_1x1` of node 0 |" in card
    assert "| cell | 2 | nothing |" in card
    assert f"`{CELLS['nothing arrives']}`" in card
