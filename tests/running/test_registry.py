import json
from pathlib import Path

import pytest

from pipeline.harness.errors import RunError
from pipeline.running.registry import CURRENT, FACTS, Verdict, register

METRIC = "derive.test_accuracy"


def trained(tree: Path, accuracy: float, *, images: str = "the test images") -> Path:
    """Return a tree whose last run reached an accuracy."""
    for stage in ("prepare", "derive", "export"):
        (tree / "artifacts" / stage).mkdir(parents=True, exist_ok=True)
    metrics = {"test_accuracy": accuracy, "test_loss": 1 - accuracy}
    (tree / "artifacts/derive/metrics.json").write_text(json.dumps(metrics))
    (tree / "artifacts/prepare/dataset.json").write_text(json.dumps({"sha256": {"test": images}}))
    (tree / "artifacts/export/model.onnx").write_text(f"a model of {accuracy}")
    (tree / "artifacts/export/model_card.md").write_text("# A model")
    (tree / "artifacts/export/variants").mkdir(exist_ok=True)
    (tree / "artifacts/export/variants/model.int8.onnx").write_text("a smaller one")
    return tree


def offer(tree: Path, accuracy: float, *, min_gain: float = 0.0, **changes: str) -> Verdict:
    return register(
        trained(tree, accuracy, **changes),
        tree / "registered",
        metric=METRIC,
        direction="maximize",
        min_gain=min_gain,
    )


def registered(tree: Path) -> str:
    return (tree / "registered" / CURRENT / "model.onnx").read_text()


def test_the_first_model_is_registered_with_its_facts(tmp_path: Path) -> None:
    assert offer(tmp_path, 0.9).registered
    assert registered(tmp_path) == "a model of 0.9"
    facts = json.loads((tmp_path / "registered" / CURRENT / FACTS).read_text())
    assert facts["metrics"][METRIC] == 0.9
    assert (tmp_path / "registered" / CURRENT / "model_card.md").exists()
    assert (tmp_path / "registered" / CURRENT / "variants/model.int8.onnx").exists()


def test_a_better_model_replaces_the_registered_one_which_is_kept(tmp_path: Path) -> None:
    offer(tmp_path, 0.9)
    old = (tmp_path / "registered" / CURRENT).resolve()
    assert offer(tmp_path, 0.91).registered
    assert registered(tmp_path) == "a model of 0.91"
    assert (old / "model.onnx").read_text() == "a model of 0.9"


@pytest.mark.parametrize(("accuracy", "min_gain"), [(0.89, 0.0), (0.905, 0.01)])
def test_a_model_that_is_not_better_enough_is_refused_and_the_reason_said(
    tmp_path: Path, accuracy: float, min_gain: float
) -> None:
    offer(tmp_path, 0.9)
    verdict = offer(tmp_path, accuracy, min_gain=min_gain)
    assert not verdict.registered
    assert f"{accuracy}, the registered model has 0.9" in verdict.reason
    assert registered(tmp_path) == "a model of 0.9"


def test_less_is_better_where_the_metric_is_minimised(tmp_path: Path) -> None:
    for accuracy, expected in ((0.5, True), (0.4, False), (0.6, True)):
        verdict = register(
            trained(tmp_path, accuracy),
            tmp_path / "registered",
            metric="derive.test_loss",
            direction="minimize",
            min_gain=0.05,
        )
        assert verdict.registered == expected


def test_the_same_model_is_not_registered_twice(tmp_path: Path) -> None:
    offer(tmp_path, 0.9)
    assert "already registered" in offer(tmp_path, 0.9).reason


def test_a_comparison_on_other_test_images_is_said(tmp_path: Path) -> None:
    offer(tmp_path, 0.9)
    verdict = offer(tmp_path, 0.95, images="other images")
    assert verdict.registered
    assert "on other test images" in verdict.reason


@pytest.mark.parametrize(
    ("metric", "hint"),
    [
        ("derive.test_acuracy", r"did you mean 'derive\.test_accuracy'"),
        ("derive.zzz", r"there are: derive\.\w+"),
    ],
)
def test_an_unknown_metric_is_refused_by_name(tmp_path: Path, metric: str, hint: str) -> None:
    with pytest.raises(RunError, match=rf"{metric}: no such metric; {hint}"):
        register(
            trained(tmp_path, 0.9),
            tmp_path / "registered",
            metric=metric,
            direction="maximize",
            min_gain=0,
        )


def test_a_damaged_registration_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    offer(tmp_path, 0.9)
    (tmp_path / "registered" / CURRENT / FACTS).write_text("{")
    with pytest.raises(RunError, match=r"registration\.json: cannot be read"):
        offer(tmp_path, 0.95)
    assert registered(tmp_path) == "a model of 0.9"
