"""Every genotype can be drawn, and nothing in a drawing lies on another."""

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
from pipeline.reporting.style import OPERATION_COLORS, drawing, render
from pipeline.space.genotype import Architecture, Gene, Genotype
from pipeline.space.operations import OPERATIONS


@pytest.fixture(scope="module")
def findings(artifacts: Path) -> Findings:
    return read_findings(artifacts)


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    nodes = []
    for node in range(draw(st.integers(1, 5))):
        sources = draw(st.sets(st.integers(0, node + 1), min_size=1, max_size=3))
        names = [draw(st.sampled_from(sorted(OPERATIONS))) for _ in sources]
        pairs = zip(sorted(sources), names, strict=True)
        nodes.append(tuple(Gene(source=source, operation=name) for source, name in pairs))
    return Architecture(name="normal", nodes=tuple(nodes))


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
    assert sorted(text for text in found if text in OPERATIONS) == sorted(genes)
    for title in ("Normal cell", "Reduction cell", "Grown normal cell"):
        assert found.count(title) == 1


def test_a_network_that_did_not_grow_has_no_grown_cell(findings: Findings) -> None:
    first = replace(
        findings, blueprint=replace(findings.blueprint, cells=findings.blueprint.cells[:2])
    )
    assert [panel.grown for panel in panels(first)] == [False, False]


@settings(max_examples=15, deadline=None)
@given(normal=architectures())
def test_no_operation_lies_on_another_whatever_the_genotype(
    findings: Findings, normal: Architecture
) -> None:
    genotype = Genotype(architectures=(normal, findings.genotype.architectures[1]))
    with drawing():
        figure = draw_cells(replace(findings, genotype=genotype))
    width, height = figure.get_size_inches()
    boxes = [
        patch.get_bbox() for patch in figure.axes[0].patches if isinstance(patch, FancyBboxPatch)
    ]
    for one, other in combinations(boxes, 2):
        assert not one.overlaps(other)
    for box in boxes:
        assert 0 <= box.x0 < box.x1 <= width
        assert 0 <= min(box.y0, box.y1) < max(box.y0, box.y1) <= height


@given(architectures())
def test_a_node_stands_behind_all_that_it_reads(architecture: Architecture) -> None:
    found = depths(architecture)
    for node, genes in enumerate(architecture.nodes):
        for gene in genes:
            assert gene.source < 2 or found[gene.source - 2] < found[node]


def test_every_operation_has_a_colour_of_its_own() -> None:
    assert OPERATION_COLORS.keys() == {"none", *OPERATIONS}
    assert len(set(OPERATION_COLORS.values())) == len(OPERATION_COLORS)
