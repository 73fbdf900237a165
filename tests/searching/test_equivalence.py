"""Architectures with the same normal form compute the same."""

from collections import defaultdict
from functools import cache
from itertools import product

import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.batches.randomness import generator
from pipeline.searching.equivalence import normal_form
from pipeline.space.architecture import Architecture, Gene
from pipeline.space.genotype import Genotype
from pipeline.space.network import build
from pipeline.space.space import NONE
from pipeline.space.spaces.nasbench201 import NASBENCH201
from tests.conftest import of_space, tiny_blueprint

EDGES = [(source, node) for node in range(3) for source in range(node + 1)]


def cell(operations: tuple[str, ...], space: str = "nasbench201") -> Genotype:
    nodes: list[list[Gene]] = [[], [], []]
    for (source, node), operation in zip(EDGES, operations, strict=True):
        if operation != NONE:
            nodes[node].append(Gene(source=source, operation=operation))
    architecture = Architecture(name="cell", nodes=tuple(map(tuple, nodes)))
    return Genotype(space=space, architectures=(architecture,))


@cache
def groups() -> list[list[Genotype]]:
    """All cells of NAS-Bench-201, by their normal form."""
    found: dict[tuple[str, ...], list[Genotype]] = defaultdict(list)
    for operations in product(NASBENCH201.names, repeat=6):
        found[normal_form(cell(operations))].append(cell(operations))
    return list(found.values())


def output(genotype: Genotype) -> torch.Tensor:
    """The output of a network in which equal operations have equal weights, wherever they are."""
    changes = {**of_space("nasbench201"), "operations": NASBENCH201.names}
    network = build(tiny_blueprint(**changes), genotype, generator=generator(0, "weights"))
    for name, weight in network.named_parameters():
        if weight.dim() > 1:
            _, _, alike = name.rpartition("operations.")
            weight.data = 0.3 * torch.randn(weight.shape, generator=generator(0, "weights", alike))
    images = torch.randn(2, 3, 8, 8, generator=generator(0, "images"))
    with torch.no_grad():
        return network.double().eval()(images.double())


@given(st.data())
def test_cells_of_one_normal_form_compute_the_same(data: st.DataObject) -> None:
    group = data.draw(st.sampled_from([one for one in groups() if len(one) > 1]))
    one, other = (data.draw(st.sampled_from(group)) for _ in range(2))
    torch.testing.assert_close(output(one), output(other), rtol=1e-9, atol=1e-9)


@given(st.data())
def test_cells_of_different_normal_forms_compute_different_things(data: st.DataObject) -> None:
    one, other = (data.draw(st.sampled_from(group))[0:1] for group in [groups(), groups()])
    if normal_form(one[0]) != normal_form(other[0]):
        assert (output(one[0]) - output(other[0])).abs().max() > 1e-9


def test_the_cells_of_nas_bench_201_have_fewer_forms_than_its_6466_published_strings() -> None:
    assert sum(map(len, groups())) == 15_625
    assert len(groups()) == 5_773  # x + 0 is x here; the published strings tell them apart


def test_nodes_whose_outputs_are_concatenated_may_change_places() -> None:
    def genotype(*nodes: tuple[Gene, ...]) -> Genotype:
        return Genotype(architectures=(Architecture(name="normal", nodes=nodes),))

    pool, skip = Gene(source=0, operation="max_pool_3x3"), Gene(source=1, operation="skip_connect")
    conv = Gene(source=1, operation="sep_conv_3x3")
    assert normal_form(genotype((pool, skip), (conv,))) == normal_form(
        genotype((conv,), (skip, pool))
    )
    assert normal_form(genotype((pool,), (conv,))) != normal_form(genotype((pool,), (skip,)))


def test_a_layer_that_keeps_its_input_is_the_same_as_none() -> None:
    def layer(operation: str) -> Genotype:
        gene = Gene(source=0, operation=operation)
        architecture = Architecture(name="cell 0 (normal)", nodes=((gene,),))
        return Genotype(space="residual", architectures=(architecture,))

    assert normal_form(layer("skip_connect")) == ("0",)
    assert normal_form(layer("basic_3x3")) == ("basic_3x3(x0)",)
