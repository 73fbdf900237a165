"""The last lines of a run show the model's accuracy, its best reference, and its files."""

import json
from pathlib import Path

import pytest

from pipeline.comparison.references import Reference, References, sentence, write_references
from pipeline.running.ending import duration, last_lines

BEST = Reference(
    name="svc",
    title="SVC on pixels",
    test_accuracy=0.9889,
    low=0.9717,
    high=0.9957,
    difference=0.0028,
    p_value=1.0,
    verdict="tie",
)


def test_a_whole_tree_is_told_of(tmp_path: Path) -> None:
    artifacts = tmp_path / "artifacts"
    write_references(artifacts / "reference" / "references.json", References(compared=(BEST,)))
    measured = {
        "test_accuracy": 0.99167,
        "test_accuracy_low": 0.9758,
        "test_accuracy_high": 0.9972,
        "test_images": 360,
    }
    (artifacts / "derive").mkdir()
    (artifacts / "derive" / "metrics.json").write_text(json.dumps(measured))
    for name in ("export/model.onnx", "export/model_card.md", "report/report.html"):
        (artifacts / name).parent.mkdir(exist_ok=True)
        (artifacts / name).touch()
    assert list(last_lines(tmp_path, 161.4)) == [
        "",
        "test accuracy 99.2% of 360 images (95 % interval 97.6% to 99.7%)",
        sentence(References(compared=(BEST,))),
        "this run took 2 min 41 s",
        "report  artifacts/report/report.html",
        "model   artifacts/export/model.onnx",
        "card    artifacts/export/model_card.md",
        "next    aso-se predict artifacts/export/model.onnx IMAGE...",
    ]


def test_of_what_is_not_there_nothing_is_said(tmp_path: Path) -> None:
    assert list(last_lines(tmp_path, 3.0)) == ["", "this run took 3 s"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_a_time_is_told_as_people_say_it(seconds: float, words: str) -> None:
    assert duration(seconds) == words
