"""Every edge has its row, in the colour of what it preferred, in any search space."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from pipeline.batches.randomness import generator
from pipeline.deciding.decision import decide
from pipeline.growing.blueprints import deepen
from pipeline.harness.errors import ReportError
from pipeline.reporting.findings import SEARCHING_PHASES, Findings
from pipeline.reporting.heat_map import colors, draw_edges, panels
from pipeline.reporting.preferences import Preference, read_preferences
from pipeline.reporting.style import drawing, render
from pipeline.space.registry import SPACES
from tests.conftest import costly, of_space, tiny_blueprint
from tests.reporting.conftest import LENGTHS, networks

FIRST, EPOCHS = LENGTHS["warmup"] + 1, LENGTHS["search"] + LENGTHS["growth"]
GROWN = FIRST + LENGTHS["search"]
"""First epoch of growth, before which nothing that it adds is there."""


def preferring(findings: Findings) -> Findings:
    """Return findings in which each edge prefers something; the last architecture is grown."""
    blueprint = findings.blueprint
    shape = (blueprint.architectures, len(blueprint.edges), len(blueprint.operations))
    weights = (3 * torch.randn(EPOCHS, *shape, generator=generator(0, "preferences"))).softmax(-1)
    grown = blueprint.architectures > 1
    found = [
        Preference(epoch=epoch, edge=(architecture, *edge), weights=tuple(values))
        for epoch, of_epoch in enumerate(weights.double().tolist(), FIRST)
        for architecture, of_edges in enumerate(of_epoch)
        for edge, values in zip(blueprint.edges, of_edges, strict=True)
        if not grown or architecture < blueprint.architectures - 1 or epoch >= GROWN
    ]
    genotype = decide(weights[-1].log(), blueprint)
    return replace(findings, preferences=found, genotype=genotype)


def of(findings: Findings, space: str, **changes: object) -> Findings:
    """Return findings of a tiny network of a space, to which growth added a cell."""
    plan = tiny_blueprint(**{**of_space(space), "share_logits": False, **changes})
    return preferring(replace(findings, blueprint=deepen(plan)))


def drawn(findings: Findings) -> Figure:
    with drawing():
        return draw_edges(findings)


@pytest.mark.parametrize("space", SPACES)
def test_every_edge_has_a_row_and_its_colour_is_the_operation_that_it_prefers(
    space: str, findings: Findings
) -> None:
    found = of(findings, space)
    blueprint = found.blueprint
    rows = [edge for panel in panels(found) for edge in panel.edges]
    expected = {(one, *edge) for one in range(blueprint.architectures) for edge in blueprint.edges}
    assert sorted(rows) == sorted(expected)
    there = {(one.epoch, one.edge): one.weights for one in found.preferences}
    for panel in panels(found):
        for edge, row in zip(panel.edges, colors(found, panel), strict=True):
            for epoch, color in enumerate(row.tolist(), FIRST):
                if (epoch, edge) not in there:
                    assert epoch < GROWN
                    assert color[3] == 0
                    continue
                weights = there[epoch, edge]
                likely = blueprint.operations[weights.index(max(weights))]
                assert tuple(color[:3]) == to_rgb(blueprint.rules.operation(likely).color)
                assert 0.2 <= color[3] <= 0.95


@pytest.mark.parametrize("space", SPACES)
def test_each_run_of_epochs_tells_its_operation_where_the_pointer_rests(
    space: str, findings: Findings
) -> None:
    found = of(findings, space)
    operations = found.blueprint.operations
    names = {edge: name for panel in panels(found) for edge, name in panel.edges.items()}
    with drawing():
        svg = ET.fromstring(render(draw_edges(found), "edges").svg)  # noqa: S314 - ours
    told = [str(one.text) for one in svg.iter("{http://www.w3.org/2000/svg}title")]
    several = len(panels(found)) > 1
    for name in set(names.values()):
        epochs: list[tuple[int, str]] = []
        for line in told:
            run = re.fullmatch(r"(.*), epochs (\d+) to (\d+)\n(\w+), \d+% to \d+%", line)
            assert run
            if run[1] == name:
                epochs += [(one, run[4]) for one in range(int(run[2]), int(run[3]) + 1)]
        expected = [
            (one.epoch, operations[one.weights.index(max(one.weights))])
            for one in found.preferences
            if names[one.edge] == name
        ]
        assert sorted(epochs) == sorted(expected)
        assert several or [one for one, _ in epochs] == [one for one, _ in expected]


@pytest.mark.parametrize("space", SPACES)
def test_a_row_says_what_it_ended_with_and_is_bold_where_the_network_has_it(
    space: str, findings: Findings
) -> None:
    found = of(findings, space)
    figure = drawn(found)
    kept = sum(len(genes) for one in found.genotype.architectures for genes in one.nodes)
    texts = [text for axes in figure.axes for text in axes.texts if text.get_text()[-1:] == "%"]
    assert len(texts) == found.blueprint.architectures * len(found.blueprint.edges)
    bold = [text for text in texts if text.get_weight() == "bold"]
    assert 0 < len(bold) <= kept
    if space == "residual":  # in which every edge is kept
        assert len(bold) == len(texts) == kept
    legend = [text.get_text() for text in figure.axes[-1].texts]
    assert legend == list(found.blueprint.operations)


def test_edges_are_named_as_in_the_picture_of_the_cells(findings: Findings) -> None:
    darts = panels(findings)
    assert [panel.title for panel in darts] == ["Normal cell", "Reduction cell"]
    assert list(darts[0].edges.values()) == [
        "cell k−2 → node 0",
        "cell k−1 → node 0",
        "cell k−2 → node 1",
        "cell k−1 → node 1",
        "node 0 → node 1",
    ]
    [chain] = panels(of(findings, "residual", cells=4))
    assert list(chain.edges.values()) == [f"cell {number}" for number in range(5)]
    assert [edge[0] for edge in chain.edges] == [0, 1, 4, 2, 3]  # the new cell is within


@costly
@given(data=st.data())
def test_no_words_overlap_or_leave_the_picture(findings: Findings, data: st.DataObject) -> None:
    figure = drawn(preferring(data.draw(networks(findings))))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # places the labels
    renderer = canvas.get_renderer()
    texts = [text for axes in figure.axes for text in axes.texts]
    for axes in figure.axes[:-1]:
        texts += [*axes.get_yticklabels(), axes.xaxis.label]
    words = [text.get_window_extent(renderer) for text in texts if text.get_text()]
    parts = [axes.get_tightbbox(renderer) for axes in figure.axes[:-1]]  # with their titles
    for alike in (words, parts):
        assert not any(one.overlaps(other) for one, other in combinations(alike, 2))
    for place in (*words, *parts):
        assert figure.bbox.xmin <= place.xmin <= place.xmax <= figure.bbox.xmax
        assert figure.bbox.ymin <= place.ymin <= place.ymax <= figure.bbox.ymax


DAMAGES: dict[str, tuple[Callable[[list[str]], list[str]], str]] = {
    "a row twice": (lambda lines: [*lines[:2], *lines[1:]], "not the edges of a network"),
    "a row less": (lambda lines: [lines[0], *lines[2:]], "not the edges of a network"),
    "a cell more": (lambda lines: [*lines[:2], f"{lines[2]}\t0"], "other columns"),
    "no rows": (lambda lines: lines[:1], "its epochs are not those of history.tsv"),
    "another epoch": (lambda lines: lines[:-10], "its epochs are not those"),
    "a number that is none": (lambda lines: [lines[0], lines[1].replace("0.2", "nan")], "weights"),
    "a larger weight": (lambda lines: [lines[0], lines[1].replace("0.2", "0.3", 1)], "weights"),
    "another entropy": (lambda lines: [lines[0], lines[1].replace("1.6", "1.5")], "entropy"),
    "a missing column": (lambda lines: [line.rpartition("\t")[0] for line in lines], "weight_"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_edges_that_no_stage_wrote_are_refused_with_a_line(
    damage: str, artifacts: Path, findings: Findings, tmp_path: Path
) -> None:
    change, reason = DAMAGES[damage]
    lines = (artifacts / "search" / "edges.tsv").read_text().splitlines()
    path = tmp_path / "edges.tsv"
    history = findings.histories["search"]
    path.write_text("\n".join(lines) + "\n")
    assert len(read_preferences(path, findings.blueprint, history)) == 10 * LENGTHS["search"]
    path.write_text("\n".join(change(lines)) + "\n")
    with pytest.raises(ReportError, match=reason) as refused:
        read_preferences(path, findings.blueprint, history)
    assert str(refused.value).startswith(f"{path}: ")


def test_the_phases_that_search_are_those_with_edges(findings: Findings) -> None:
    epochs = {one.epoch for one in findings.preferences}
    rows = [row for phase in SEARCHING_PHASES for row in findings.histories[phase]]
    assert epochs == {row["epoch"] for row in rows}
