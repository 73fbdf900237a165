"""The examples of docs/from-python.md run, in their order."""

import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.harness.errors import AsoSeError
from stages.here import run

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = re.findall(
    r"```python\n(.*?)```", (ROOT / "docs" / "from-python.md").read_text(), re.DOTALL
)


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    for example in EXAMPLES:
        exec(example, found)  # noqa: S102 - our own page
    metrics = found["measure"](found["logits"], found["test"].labels, found["classes"])
    assert metrics["test_accuracy"] == found["model"].fact("metrics")["test_accuracy"]
    assert found["probabilities"].shape == (8, 10)
    assert len(found["history"]) == 2
    assert (tmp_path / "experiment" / "export" / "model.onnx").exists()


@pytest.mark.parametrize(
    ("changes", "arguments", "line"),
    [
        ({"search.epoch": 3}, {}, "search.epoch: unknown key; did you mean 'epochs'?"),
        ({}, {"stages": ["serch"]}, "serch: no such stage; there are check, prepare, "),
        ({}, {"profile": "digit"}, "profiles/digit.yaml: no such profile"),
    ],
)
def test_a_mistake_is_one_line_before_anything_runs(
    changes: dict[str, Any], arguments: dict[str, Any], line: str, tmp_path: Path
) -> None:
    with pytest.raises(AsoSeError) as raised:
        run(changes, tmp_path, **arguments)
    assert line in str(raised.value)
    assert list(tmp_path.iterdir()) == []
