"""Smaller models have the same inputs and outputs, fewer bytes, and nearly the same accuracy."""

import logging

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from torch import Tensor

from pipeline.exporting.onnx_file import ModelFacts
from pipeline.exporting.variants import judge, to_half, to_int8
from pipeline.harness.errors import ParityError

pytestmark = pytest.mark.xdist_group("exporting")


@pytest.fixture(scope="module")
def rows(pixels: Tensor) -> NDArray[np.uint8]:
    result: NDArray[np.uint8] = pixels.numpy()
    return result


@pytest.fixture(scope="module")
def labels(exported: bytes, rows: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the exported model's own classes as labels, so that its accuracy is 1."""
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    result: NDArray[np.int64] = session.run(["logits"], {"images": rows})[0].argmax(1)
    return result


@pytest.fixture(scope="module")
def int8(exported: bytes, facts: ModelFacts, rows: NDArray[np.uint8]) -> bytes:
    return to_int8(exported, facts, rows)


@pytest.fixture(scope="module")
def half(exported: bytes, facts: ModelFacts) -> bytes:
    return to_half(exported, facts)


@pytest.mark.parametrize("name", ["int8", "half"])
def test_inputs_outputs_and_metadata_are_those_of_the_model(
    name: str, exported: bytes, request: pytest.FixtureRequest
) -> None:
    def contract(content: bytes) -> tuple[object, ...]:
        model = onnx.load_from_string(content)
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        ends = [*session.get_inputs(), *session.get_outputs()]
        return (
            [(end.name, end.type, end.shape) for end in ends],
            {entry.key: entry.value for entry in model.metadata_props},
            (model.ir_version, model.producer_name, model.graph.name),
            [(opset.domain, opset.version) for opset in model.opset_import],
        )

    assert contract(request.getfixturevalue(name)) == contract(exported)


def test_smaller_models_have_the_temperature_too(
    calibrated: bytes, calibrated_facts: ModelFacts, rows: NDArray[np.uint8]
) -> None:
    for content in (
        to_int8(calibrated, calibrated_facts, rows),
        to_half(calibrated, calibrated_facts),
    ):
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        logits, probabilities = session.run(None, {"images": rows[:32]})
        expected = np.exp(logits / 1.7321)
        expected /= expected.sum(1, keepdims=True)
        np.testing.assert_allclose(probabilities, expected, rtol=0, atol=2e-3)


def test_int8_has_uint8_activations_and_int8_weights_per_channel(int8: bytes) -> None:
    model = onnx.load_from_string(int8)
    values = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    maker = {name: node for node in model.graph.node for name in node.output}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert convolutions
    for node in convolutions:
        images, weight = (maker[name] for name in node.input[:2])
        assert images.op_type == weight.op_type == "DequantizeLinear"
        assert values[images.input[2]].dtype == np.uint8
        assert values[weight.input[0]].dtype == np.int8
        assert values[weight.input[1]].shape == values[weight.input[0]].shape[:1]


def test_half_holds_16_bit_weights_alone(half: bytes, exported: bytes) -> None:
    weights = [one for one in onnx.load_from_string(half).graph.initializer if one.dims]
    assert onnx.TensorProto.FLOAT not in {one.data_type for one in weights}
    assert len(half) < 0.75 * len(exported)


@pytest.mark.parametrize("name", ["int8", "half"])
def test_nearly_all_classes_stay_and_that_is_measured(
    name: str,
    exported: bytes,
    rows: NDArray[np.uint8],
    labels: NDArray[np.int64],
    request: pytest.FixtureRequest,
) -> None:
    content = request.getfixturevalue(name)
    found = judge(name, content, exported, rows, labels, tolerance=0.1)
    assert 0.9 <= found.accuracy <= 1
    assert found.agreement == found.accuracy  # the labels are what the model itself says
    assert found.metrics()[f"{name}_bytes"] == len(content)


def test_a_smaller_model_that_loses_too_much_is_refused_in_one_line(
    exported: bytes, rows: NDArray[np.uint8], labels: NDArray[np.int64]
) -> None:
    model = onnx.load_from_string(exported)
    for weight in model.graph.initializer:
        if weight.name.endswith("head.weight"):
            wrong = onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(weight), weight.name)
            weight.CopyFrom(wrong)
    with pytest.raises(ParityError) as refused:
        judge("int8", model.SerializeToString(), exported, rows, labels, tolerance=0.01)
    line = str(refused.value)
    assert "\n" not in line
    assert (
        "the exported one on 100.00%, expected to lose at most 1.00%; no file was written" in line
    )


def test_equal_models_and_images_give_equal_bytes(
    exported: bytes, facts: ModelFacts, rows: NDArray[np.uint8], int8: bytes, half: bytes
) -> None:
    assert to_int8(exported, facts, rows) == int8
    assert to_half(exported, facts) == half


def test_quantizing_says_nothing(
    exported: bytes, facts: ModelFacts, rows: NDArray[np.uint8], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        to_int8(exported, facts, rows[:8])
    assert not caplog.records


def test_calibration_takes_images_of_all_classes_from_a_sorted_split(
    exported: bytes, facts: ModelFacts, rows: NDArray[np.uint8]
) -> None:
    """Bright images at the end widen the range of the activations."""
    dark = np.zeros((1000, *rows.shape[1:]), np.uint8)
    assert to_int8(exported, facts, np.concatenate([dark, rows])) != to_int8(exported, facts, dark)
