"""Every genotype can be drawn, and no parts of a drawing overlap."""

import re
from dataclasses import replace
from html import unescape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.reporting.cells import depths, draw_cells, panels
from pipeline.reporting.findings import Findings
from pipeline.reporting.style import drawing, render
from pipeline.space.genotype import Architecture, Gene, Genotype
from pipeline.space.registry import SPACES
from pipeline.space.space import NONE, Space
from tests.conftest import costly
from tests.reporting.conftest import networks, require_legible

GRAPHS = sorted(name for name, space in SPACES.items() if not space.is_chain)
"""The search spaces whose cells are drawn one by one."""


@st.composite
def architectures(draw: st.DrawFn, space: Space) -> Architecture:
    nodes = []
    names = st.sampled_from([name for name in space.names if name != NONE])
    for node in range(draw(st.integers(1, 5))):
        last, fewest = node + len(space.inputs) - 1, 0 if space.cuts else 1
        sources = draw(st.sets(st.integers(0, last), min_size=fewest, max_size=3))
        nodes.append(
            tuple(Gene(source=source, operation=draw(names)) for source in sorted(sources))
        )
    return Architecture(name="normal", nodes=tuple(nodes))


def in_space(findings: Findings, space: Space, architecture: Architecture) -> Findings:
    """Return findings whose cells are all of that architecture, of that search space."""
    cells = tuple(replace(cell, architecture=0) for cell in findings.blueprint.cells)
    blueprint = replace(findings.blueprint, space=space.name, cells=cells)
    genotype = Genotype(space=space.name, architectures=(architecture,))
    return replace(findings, blueprint=blueprint, genotype=genotype)


def texts(svg: str) -> list[str]:
    return [unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg)]


def test_every_operation_of_every_drawn_cell_is_in_the_text(findings: Findings) -> None:
    with drawing():
        svg = render(draw_cells(findings), "").svg
    found = texts(svg)
    genes = [
        gene.operation
        for panel in panels(findings)
        for node in panel.architecture.nodes
        for gene in node
    ]
    assert sorted(text for text in found if text in findings.blueprint.operations) == sorted(genes)
    for title in ("Normal cell", "Reduction cell", "Grown normal cell"):
        assert found.count(title) == 1


def test_a_network_that_did_not_grow_has_no_grown_cell(findings: Findings) -> None:
    first = replace(
        findings, blueprint=replace(findings.blueprint, cells=findings.blueprint.cells[:2])
    )
    assert [panel.grown for panel in panels(first)] == [False, False]


@settings(costly, max_examples=15)
@given(name=st.sampled_from(GRAPHS), data=st.data())
def test_a_drawing_is_legible_and_names_its_inputs_whatever_the_space_and_the_genotype(
    findings: Findings, name: str, data: st.DataObject
) -> None:
    architecture = data.draw(architectures(SPACES[name]))
    with drawing():
        figure = draw_cells(in_space(findings, SPACES[name], architecture))
        require_legible(figure)
    words = [text.get_text().replace("\n", " ") for text in figure.axes[0].texts]
    for entry in SPACES[name].inputs:
        assert entry.label in words


@settings(costly, max_examples=15)
@given(data=st.data())
def test_a_drawing_of_many_cells_is_legible_in_every_space(
    findings: Findings, data: st.DataObject
) -> None:
    with drawing():
        require_legible(draw_cells(data.draw(networks(findings))))


@pytest.mark.parametrize("space", SPACES.values(), ids=lambda space: space.name)
@given(data=st.data())
def test_a_node_stands_behind_all_that_it_reads(space: Space, data: st.DataObject) -> None:
    architecture, inputs = data.draw(architectures(space)), len(space.inputs)
    found = depths(architecture, inputs)
    for node, genes in enumerate(architecture.nodes):
        for gene in genes:
            assert gene.source < inputs or found[gene.source - inputs] < found[node]


@pytest.mark.parametrize("space", SPACES.values(), ids=lambda space: space.name)
def test_every_operation_of_a_space_has_a_colour_of_its_own(space: Space) -> None:
    colors = [one.color for one in space.operations]
    assert len(set(colors)) == len(colors)
