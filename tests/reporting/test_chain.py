"""A chain of layers is drawn as one line, in order, whatever its length and its genotype."""

from collections import Counter
from dataclasses import replace
from html import unescape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.reporting.cells import draw_cells
from pipeline.reporting.chain import WIDEST, draw_chain
from pipeline.reporting.findings import Findings
from pipeline.reporting.network import resolutions
from pipeline.reporting.page import page
from pipeline.reporting.pictures import PICTURES
from pipeline.reporting.style import Picture, drawing, render
from pipeline.space.registry import SPACES
from tests.conftest import costly
from tests.reporting.conftest import networks, require_legible

CHAINS = tuple(name for name, space in SPACES.items() if space.is_chain)
some = settings(costly, max_examples=12)


def words(findings: Findings) -> list[str]:
    """Return the texts of the picture, in the order in which they were drawn."""
    with drawing():
        return [text.get_text() for text in draw_chain(findings).axes[0].texts]


def operations(findings: Findings) -> list[str]:
    """Return the operation of each layer."""
    architectures = findings.genotype.architectures
    return [
        architectures[cell.architecture].nodes[0][0].operation for cell in findings.blueprint.cells
    ]


def test_the_residual_space_is_a_chain_and_the_others_are_not() -> None:
    assert CHAINS == ("residual",)


@some
@given(data=st.data())
def test_every_layer_shows_its_operation_and_its_size_in_order(
    findings: Findings, data: st.DataObject
) -> None:
    chain = data.draw(networks(findings, CHAINS))
    shown, cells = words(chain), chain.blueprint.cells
    names = chain.blueprint.rules.names
    assert [word for word in shown if word in names] == operations(chain)
    sizes = zip(resolutions(chain), cells, strict=True)
    assert [word for word in shown if word.endswith(" ch.")] == [
        f"{size}, {cell.channels} ch." for size, cell in sizes
    ]
    numbers = [word for word in shown if word.startswith("cell ")]
    assert numbers == [f"cell {number}" for number in range(len(cells))]


@some
@given(data=st.data())
def test_a_circle_joins_each_branch_and_a_grown_one_has_a_gate(
    findings: Findings, data: st.DataObject
) -> None:
    chain = data.draw(networks(findings, CHAINS))
    shown, space = Counter(words(chain)), chain.blueprint.rules
    branches = [
        cell
        for cell, name in zip(chain.blueprint.cells, operations(chain), strict=True)
        if space.operation(name).layers is not None
    ]
    assert shown["+"] == len(branches)
    assert shown["×g"] == sum(cell.grown for cell in branches)
    reductions = sum(cell.kind == "reduction" for cell in chain.blueprint.cells)
    assert shown["basic block\nstride 2"] == reductions


@some
@given(data=st.data())
def test_no_part_of_a_chain_lies_on_another_or_outside(
    findings: Findings, data: st.DataObject
) -> None:
    chain = data.draw(networks(findings, CHAINS))
    size = data.draw(st.integers(1, 4000))
    large = replace(chain.dataset, height=size, width=size)
    with drawing():
        figure = draw_chain(replace(chain, dataset=large))
        require_legible(figure)
    assert figure.get_size_inches()[0] <= WIDEST


@settings(costly, max_examples=3)
@given(data=st.data())
def test_the_same_chain_gives_the_same_bytes_and_is_the_picture_of_the_cells(
    findings: Findings, data: st.DataObject
) -> None:
    chain = data.draw(networks(findings, CHAINS))
    with drawing():
        first, again = (render(picture(chain), "") for picture in (draw_chain, draw_cells))
    assert first == again


@pytest.mark.parametrize("space", SPACES)
@settings(costly, max_examples=2)
@given(data=st.data())
def test_the_page_speaks_of_layers_in_a_chain_and_else_of_nodes(
    findings: Findings, space: str, data: st.DataObject
) -> None:
    network = data.draw(networks(findings, (space,)))
    text = unescape(page(network, dict.fromkeys(PICTURES, Picture(svg="", png=b"")), {}))
    assert ("Each cell is a layer" in text) == SPACES[space].is_chain
    assert ("Each node sums what enters it." in text) != SPACES[space].is_chain
    assert ("nodes × channels of a node" in text) == (network.blueprint.output_nodes > 1)
