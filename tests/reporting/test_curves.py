from pathlib import Path

import pytest
from matplotlib.figure import Figure

from pipeline.reporting.curves import draw_curves, draw_growth, draw_operations, short
from pipeline.reporting.findings import Findings, read_findings
from pipeline.reporting.style import drawing
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
