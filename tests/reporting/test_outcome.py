from pathlib import Path

import numpy as np
import pytest

from pipeline.reporting.findings import read_findings
from pipeline.reporting.outcome import MOST_SHOWN, draw_confusion, draw_mistakes, mistakes
from pipeline.reporting.style import drawing
from tests.reporting.conftest import write_artifacts


def test_the_confusion_counts_every_test_image_once(artifacts: Path) -> None:
    expected = [[1, 1, 0], [0, 1, 1], [1, 0, 1]]
    assert np.array_equal(read_findings(artifacts).confusion(), expected)


def test_the_surest_mistakes_come_first(artifacts: Path) -> None:
    found = mistakes(read_findings(artifacts))
    assert [number for number, _ in found] == [1, 3, 5]
    assert [prediction.probability for _, prediction in found] == [0.9, 0.65, 0.566667]


@pytest.mark.parametrize("count", [2, 31, 100])
def test_any_number_of_classes_has_its_matrix_and_its_sheet(tmp_path: Path, count: int) -> None:
    classes = [f"a class with a rather long name {number}" for number in range(count)]
    found = read_findings(write_artifacts(tmp_path, classes))
    with drawing():
        confusion = draw_confusion(found)
        sheet = draw_mistakes(found)
    axes = confusion.axes[0]
    assert len(axes.get_yticklabels()) == count
    assert all(len(label.get_text()) <= 20 for label in axes.get_yticklabels())
    assert max(confusion.get_size_inches()) <= 12
    assert sum(bool(axes.images) for axes in sheet.axes) == min(count, MOST_SHOWN)


def test_without_a_mistake_the_sheet_says_so(tmp_path: Path) -> None:
    found = read_findings(write_artifacts(tmp_path, right=True))
    with drawing():
        assert [text.get_text() for text in draw_mistakes(found).texts] == ["no mistakes"]
