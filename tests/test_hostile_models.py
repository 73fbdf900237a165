"""`predict` on a model that anybody made: a prediction, or one line that says what is wrong."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from pipeline.predicting import show

GOOD = {"format": 1, "classes": ["a", "b"], "input": {"width": 8, "height": 8, "channels": 3}}
KEYS = ("width", "height", "channels", "fit", "unsure_below")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner),
    max_leaves=5,
)
Predicted = tuple[int, str, str]
Predict = Callable[[bytes], Predicted]
ANY_SIZE = (TensorProto.UINT8, ["n", "h", "w", "c"])


def model(
    *,
    images: tuple[int, list[Any]] = (TensorProto.UINT8, ["n", 8, 8, 3]),
    outputs: tuple[str, ...] = ("logits", "probabilities"),
    answer: tuple[float, ...] = (0.25, 0.75),
    shape: tuple[Any, ...] = ("n", 2),
    nodes: tuple[onnx.NodeProto, ...] = (),
    **metadata: object,
) -> bytes:
    """Return a model of two classes that answers `answer` to every image.

    nodes: run before it answers. metadata: values that are written as JSON.
    """
    ends = [helper.make_tensor_value_info(one, TensorProto.FLOAT, shape) for one in outputs]
    constant = numpy_helper.from_array(np.array([answer], np.float32), "constant")
    answers = [helper.make_node("Identity", ["constant"], [one]) for one in outputs]
    taken = helper.make_tensor_value_info("images", *images)
    graph = helper.make_graph([*nodes, *answers], "graph", [taken], ends, [constant])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    for key, value in {**GOOD, **metadata}.items():
        text = value.decode() if isinstance(value, bytes) else json.dumps(value)
        made.metadata_props.append(onnx.StringStringEntryProto(key=key, value=text))
    return bytes(made.SerializeToString())


@pytest.fixture
def predict_with(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Predict:
    """Predict an image with the model of some bytes; return exit code, stdout and stderr."""
    Image.new("RGB", (8, 8)).save(tmp_path / "image.png")

    def run(content: bytes) -> Predicted:
        (tmp_path / "model.onnx").write_bytes(content)
        capfd.readouterr()
        code = show(tmp_path / "model.onnx", [str(tmp_path / "image.png")], top=3, as_json=False)
        sys.stdout.flush()
        return (code, *capfd.readouterr())

    return run


def require_one_line(predicted: Predicted) -> None:
    code, printed, error = predicted
    assert (code, printed) == (1, "")
    assert error.count("\n") == 1
    assert error.removesuffix("\n").isprintable()
    assert "model.onnx: " in error


def test_a_model_that_is_as_it_says_predicts(predict_with: Predict) -> None:
    code, printed, error = predict_with(model())
    assert (code, error) == (0, "")
    assert printed.splitlines()[1].split()[-2:] == ["b", "75.0%"]


def test_a_calibrated_model_without_a_limit_predicts(predict_with: Predict) -> None:
    code, printed, error = predict_with(
        model(calibration={"temperature": 1.5, "unsure_below": None})
    )
    assert (code, error) == (0, "")
    assert "unsure" not in printed


FAILING = (
    helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
    helper.make_node("MatMul", ["floats", "constant"], ["product"]),
)


@pytest.mark.parametrize(
    "content",
    [
        model(classes=["a"]),
        model(classes=[1, 2]),
        model(classes="ab"),
        model(classes=[]),
        model(classes={"a": 1, "b": 2}),
        model(classes=b"[" * 100_000 + b"]" * 100_000),
        model(outputs=("logits",)),
        model(images=(TensorProto.FLOAT, ["n", 8, 8, 3])),
        model(images=(TensorProto.UINT8, ["n", 8, 8])),
        model(images=(TensorProto.UINT8, [2, 8, 8, 3])),
        model(input={"width": 16, "channels": 3}),
        model(input={"width": 0, "channels": 3}),
        model(input={"width": 10**9, "channels": 3}, images=ANY_SIZE),
        model(input={"width": 8.0, "channels": 3}),
        model(input={"width": 8, "channels": 2}),
        model(input=[8, 8, 3]),
        model(input={"width": 8, "channels": 3, "fit": "\x1b[2J"}),
        model(format="\x1b[2Jx"),
        model(calibration={"unsure_below": "never"}),
        model(answer=(float("nan"), 0.5)),
        model(answer=(0.1, 0.2, 0.7), shape=("n", "k")),
        model(nodes=FAILING, images=ANY_SIZE),
        b"",
        model()[:-9],
    ],
)
def test_a_model_that_is_not_as_it_says_is_one_line(content: bytes, predict_with: Predict) -> None:
    require_one_line(predict_with(content))


def test_names_of_classes_show_nothing_that_a_terminal_would_obey(predict_with: Predict) -> None:
    code, printed, error = predict_with(model(classes=["\x1b[2J", "abc\u202egpj\n"]))
    assert (code, error) == (0, "")
    assert printed.replace("\n", "").isprintable()
    assert len(printed.splitlines()) == 3


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from([*GOOD, "calibration"]), value=VALUES)
def test_any_metadata_give_a_prediction_or_one_line(
    key: str, value: object, predict_with: Predict
) -> None:
    changed: dict[str, Any] = {key: value}
    predicted = predict_with(model(images=ANY_SIZE, **changed))
    if predicted[0]:
        require_one_line(predicted)
    else:
        assert predicted[2] == ""
