"""Every genotype can be drawn, and no parts of a drawing overlap."""

import re
from dataclasses import replace
from html import unescape
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.patches import FancyBboxPatch

from pipeline.reporting.cells import depths, draw_cells, panels
from pipeline.reporting.findings import Findings, read_findings
from pipeline.reporting.style import drawing, render
from pipeline.space.genotype import Architecture, Gene, Genotype
from pipeline.space.registry import SPACES
from pipeline.space.space import NONE, Space


@pytest.fixture(scope="module")
def findings(artifacts: Path) -> Findings:
    return read_findings(artifacts)


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


@settings(max_examples=15, deadline=None)
@given(name=st.sampled_from(sorted(SPACES)), data=st.data())
def test_no_operation_lies_on_another_whatever_the_space_and_the_genotype(
    findings: Findings, name: str, data: st.DataObject
) -> None:
    architecture = data.draw(architectures(SPACES[name]))
    with drawing():
        figure = draw_cells(in_space(findings, SPACES[name], architecture))
    words = [text.get_text().replace("\n", " ") for text in figure.axes[0].texts]
    for entry in SPACES[name].inputs:
        assert entry.label in words
    width, height = figure.get_size_inches()
    boxes = [
        patch.get_bbox() for patch in figure.axes[0].patches if isinstance(patch, FancyBboxPatch)
    ]
    for one, other in combinations(boxes, 2):
        assert not one.overlaps(other)
    for box in boxes:
        assert 0 <= box.x0 < box.x1 <= width
        assert 0 <= min(box.y0, box.y1) < max(box.y0, box.y1) <= height


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
