from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

from pipeline.reporting.findings import MOST_SHOWN, read_findings
from pipeline.reporting.outcome import (
    MOST_LISTED,
    MOST_ROWS,
    confusions,
    draw_confusion,
)
from pipeline.reporting.predictions import Prediction, beside_examples, mistakes
from pipeline.reporting.sheets import draw_mistakes
from pipeline.reporting.style import GREEN, INK, MUTED, RED, drawing
from tests.reporting.conftest import NOWHERE, write_artifacts


def test_the_confusion_counts_every_test_image_once(artifacts: Path) -> None:
    expected = [[1, 1, 0], [0, 1, 1], [1, 0, 1]]
    assert np.array_equal(read_findings(artifacts, NOWHERE).confusion(), expected)


def test_the_surest_mistakes_come_first(artifacts: Path) -> None:
    found = mistakes(read_findings(artifacts, NOWHERE).predictions)
    assert [number for number, _ in found] == [1, 3, 5]
    assert [prediction.probability for _, prediction in found] == [0.9, 0.65, 0.566667]


@pytest.mark.parametrize("count", [2, 31, 100])
def test_any_number_of_classes_has_its_matrix_and_its_sheet(tmp_path: Path, count: int) -> None:
    classes = [f"a class with a rather long name {number}" for number in range(count)]
    found = read_findings(write_artifacts(tmp_path, classes), NOWHERE)
    with drawing():
        confusion = draw_confusion(found)
        sheet = draw_mistakes(found)
    axes = confusion.axes[0]
    assert len(axes.get_yticklabels()) == min(count, MOST_ROWS)
    assert all(len(label.get_text()) <= 24 for label in axes.get_yticklabels())
    assert max(confusion.get_size_inches()) <= 12
    assert sum(bool(axes.images) for axes in sheet.axes) == min(2 * count, MOST_SHOWN)


@pytest.mark.parametrize("count", [2, 30, 100])
def test_long_names_of_classes_neither_overlap_nor_leave_the_picture(
    tmp_path: Path, count: int
) -> None:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    classes = [f"{number:03d} {letters[number % 26 :]}{letters}"[:30] for number in range(count)]
    found = read_findings(write_artifacts(tmp_path, classes), NOWHERE)
    with drawing():
        figure = draw_confusion(found)
        renderer = FigureCanvasAgg(figure).get_renderer()
        [axes] = figure.axes
        for axis in (axes.xaxis, axes.yaxis):
            figure.draw(renderer)
            places = [label.get_window_extent(renderer) for label in axis.get_ticklabels()]
            assert not any(one.overlaps(other) for one, other in pairwise(places))
            title = axis.label.get_window_extent(renderer)
            for place in (*places, title):
                assert figure.bbox.x0 <= place.x0 < place.x1 <= figure.bbox.x1
                assert figure.bbox.y0 <= place.y0 < place.y1 <= figure.bbox.y1


def test_of_many_classes_the_most_confused_are_in_the_matrix_and_no_image_is_lost(
    tmp_path: Path,
) -> None:
    classes = [f"class {number:02d}" for number in range(60)]
    found = read_findings(write_artifacts(tmp_path, classes), NOWHERE)
    twice = Prediction(actual=49, predicted=4, probability=0.5)
    found = replace(found, predictions=[*found.predictions, twice, twice])
    with drawing():
        [axes] = draw_confusion(found).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == [*sorted(names[:-1]), "all others"]
    assert {"class 49", "class 04"} <= set(names)
    numbers = {
        (names[round(y)], names[round(x)]): int(text.get_text())
        for text in axes.texts
        for x, y in [text.get_position()]
    }
    assert numbers["class 49", "class 04"] == 2
    assert ("all others", "all others") not in numbers
    shown = [sum(count for pair, count in numbers.items() if pair[0] == one) for one in names]
    assert shown[:-1] == [2 + 2 * (one == "class 49") for one in names[:-1]]


def test_the_most_frequent_confusions_are_listed_if_the_matrix_has_not_all_classes(
    tmp_path: Path,
) -> None:
    classes = [f"class {number:02d}" for number in range(31)]
    found = read_findings(write_artifacts(tmp_path, classes), NOWHERE)
    twice = Prediction(actual=9, predicted=4, probability=0.5)
    found = replace(found, predictions=[*found.predictions, twice, twice])
    assert confusions(found)[:2] == [
        ("class 09", "class 04", 2),
        ("class 00", "class 01", 1),
    ]
    assert len(confusions(found)) == MOST_LISTED


def test_where_the_matrix_has_all_classes_no_confusion_is_listed(artifacts: Path) -> None:
    assert confusions(read_findings(artifacts, NOWHERE)) == []


@given(
    predictions=st.lists(
        st.builds(
            Prediction,
            actual=st.integers(0, 2),
            predicted=st.integers(0, 2),
            probability=st.sampled_from([0.4, 0.5, 0.9]),
        )
    )
)
def test_beside_each_mistake_is_the_surest_example_of_its_class_that_is_left(
    predictions: list[Prediction],
) -> None:
    pairs = beside_examples(predictions)
    assert [number for number, _ in pairs] == [number for number, _ in mistakes(predictions)]
    left = {number for number, one in enumerate(predictions) if one.actual == one.predicted}
    for wrong, right in pairs:
        alike = {one for one in left if predictions[one].actual == predictions[wrong].actual}
        surest = max((predictions[one].probability for one in alike), default=None)
        assert right in alike or (right is None and not alike)
        assert right is None or predictions[right].probability == surest
        left.discard(-1 if right is None else right)


def test_an_example_is_beside_its_mistake_and_green(artifacts: Path) -> None:
    with drawing():
        words = draw_mistakes(read_findings(artifacts, NOWHERE)).texts
    said = [(text.get_text(), text.get_color()) for text in words]
    assert said[0:6] == [
        ("is cat", INK),
        ("→ dog, 90%", RED),
        ("test 1", MUTED),
        ("is cat", INK),
        ("→ cat, 90%", GREEN),
        ("test 0", MUTED),
    ]


def test_without_a_mistake_the_sheet_says_so(tmp_path: Path) -> None:
    found = read_findings(write_artifacts(tmp_path, right=True), NOWHERE)
    with drawing():
        assert [text.get_text() for text in draw_mistakes(found).texts] == ["no mistakes"]
