import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from pipeline.reporting.curves import draw_curves, draw_growth, draw_operations, short
from pipeline.reporting.findings import Findings, read_findings
from pipeline.reporting.style import drawing, render
from tests.reporting.conftest import DEEPENED, LENGTHS, NOWHERE, OPERATIONS, write_artifacts

EPOCHS = sum(LENGTHS.values())


@pytest.fixture(scope="module")
def findings(artifacts: Path) -> Findings:
    return read_findings(artifacts, NOWHERE)


def words(figure: Figure) -> set[str]:
    return {text.get_text() for axes in figure.axes for text in axes.texts}


def test_one_axis_of_epochs_covers_all_phases(findings: Findings) -> None:
    with drawing():
        figure = draw_curves(findings)
    for axes in figure.axes:
        assert axes.get_xlim() == (0.5, EPOCHS + 0.5)
    assert set(LENGTHS) <= words(figure)
    (loss,) = (line for line in figure.axes[1].lines if line.get_label() == "training")
    assert list(loss.get_xdata()) == list(range(1, EPOCHS + 1))  # type: ignore[arg-type]


def test_the_temperature_is_that_of_the_phases_that_sample_by_it(findings: Findings) -> None:
    with drawing():
        curve = draw_curves(findings).axes[2].lines[0]
    assert list(curve.get_xdata()) == [4, 5, 6, 7, 8]  # type: ignore[arg-type]


def test_every_operation_has_its_share_and_they_fill_the_picture(findings: Findings) -> None:
    with drawing():
        axes = draw_operations(findings).axes[0]
    labels = [str(area.get_label()) for area in axes.collections]
    assert [label.split()[0] for label in labels] == list(OPERATIONS)
    assert axes.get_ylim() == (0, 1)


@pytest.mark.parametrize("verdict", ["accepted", "rolled back", "refused"])
def test_a_growth_is_marked_with_what_came_of_it(tmp_path: Path, verdict: str) -> None:
    widened = {**DEEPENED, "kind": "widen", "channels": 3, "verdict": verdict}
    found = read_findings(write_artifacts(tmp_path, growths=[widened]), NOWHERE)
    mark = "3 channels" if verdict == "accepted" else f"3 channels, {verdict}"
    with drawing():
        assert mark in words(draw_growth(found))
        assert mark in words(draw_curves(found))


def test_without_growth_nothing_is_marked(tmp_path: Path) -> None:
    found = read_findings(write_artifacts(tmp_path, growths=[]), NOWHERE)
    with drawing():
        assert words(draw_growth(found)) == {"search", "growth"}


@pytest.mark.parametrize(
    ("value", "shown"), [(3, "3"), (999, "999"), (261_114, "261k"), (3_400_000, "3.4M")]
)
def test_large_numbers_are_short_on_an_axis(value: float, shown: str) -> None:
    assert short(value) == shown


def titles(figure: Figure) -> list[str]:
    """Return what a browser shows for the parts of a picture, in order."""
    svg = ET.fromstring(render(figure, "words").svg)  # noqa: S314 - ours
    return [str(one.text) for one in svg.iter("{http://www.w3.org/2000/svg}title")]


def test_each_epoch_tells_its_values_where_the_pointer_rests(findings: Findings) -> None:
    with drawing():
        curves, growth, shares = (
            titles(draw(findings)) for draw in (draw_curves, draw_growth, draw_operations)
        )
    assert [one.partition("\n")[0] for one in curves] == [
        *(f"epoch {epoch}, warmup" for epoch in (1, 2, 3)),
        *(f"epoch {epoch}, search" for epoch in (4, 5)),
        *(f"epoch {epoch}, growth" for epoch in (6, 7, 8)),
        *(f"epoch {epoch}, optimize" for epoch in (9, 10, 11, 12)),
    ]
    assert curves[4].splitlines()[1:] == [
        "training accuracy 25.0%",
        "validation accuracy 20.0%",
        "that of the most likely genotype 22.7%",
        "training loss 0.400",
        "validation loss 0.500",
        "temperature 0.4",
        "entropy 0.30",
        "cells 2",
        "channels 2",
        "parameters 1,000",
    ]
    assert growth == curves[3:8]
    assert shares[0].splitlines() == ["epoch 1, warmup", *(f"{name} 20%" for name in OPERATIONS)]


def test_the_areas_of_the_epochs_cover_all_axes_and_are_not_seen(findings: Findings) -> None:
    with drawing():
        figure = draw_curves(findings)
    *panels, above = figure.axes
    seen = above.get_position()
    assert seen.y1 == panels[0].get_position().y1
    assert seen.y0 == panels[-1].get_position().y0
    assert above.get_xlim() == panels[0].get_xlim()
    spans = [(area.get_x(), area.get_width()) for area in above.patches]  # type: ignore[attr-defined]
    assert spans == [(epoch - 0.5, 1) for epoch in range(1, EPOCHS + 1)]
    assert {area.get_alpha() for area in above.patches} == {0}
