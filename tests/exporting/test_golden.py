"""The test vectors are the outputs of the model."""

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from pipeline.exporting.golden import golden_vectors
from pipeline.exporting.onnx_file import ModelFacts

pytestmark = pytest.mark.xdist_group("exporting")


@pytest.fixture(scope="module")
def arrays(exported: bytes, facts: ModelFacts) -> dict[str, NDArray[np.generic]]:
    return {
        file: onnx.numpy_helper.to_array(onnx.load_tensor_from_string(content))
        for file, content in golden_vectors(exported, facts).items()
    }


def test_the_files_are_named_and_ordered_as_the_model_s_inputs_and_outputs(
    exported: bytes, facts: ModelFacts
) -> None:
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    ends = {
        "input": [end.name for end in session.get_inputs()],
        "output": [end.name for end in session.get_outputs()],
    }
    for file, content in golden_vectors(exported, facts).items():
        kind, _, index = file.removesuffix(".pb").partition("_")
        assert onnx.load_tensor_from_string(content).name == ends[kind][int(index)]


def test_another_runtime_gives_the_same_answers(
    exported: bytes, arrays: dict[str, NDArray[np.generic]]
) -> None:
    """ONNX's own evaluator in numpy, which shares no code with ONNX Runtime."""
    found = ReferenceEvaluator(onnx.load_from_string(exported)).run(
        None, {"images": arrays["input_0.pb"]}
    )
    for index, answer in enumerate(found):
        expected = arrays[f"output_{index}.pb"]
        np.testing.assert_allclose(answer, expected, rtol=1e-3, atol=1e-4)


def test_calibrated_probabilities_are_in_the_vectors(
    calibrated: bytes, calibrated_facts: ModelFacts, arrays: dict[str, NDArray[np.generic]]
) -> None:
    found = golden_vectors(calibrated, calibrated_facts)
    logits, probabilities = (
        onnx.numpy_helper.to_array(onnx.load_tensor_from_string(found[f"output_{index}.pb"]))
        for index in range(2)
    )
    np.testing.assert_array_equal(logits, arrays["output_0.pb"])
    expected = np.exp(logits / 1.7321)
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-6)


def test_equal_models_have_equal_vectors(exported: bytes, facts: ModelFacts) -> None:
    assert golden_vectors(exported, facts) == golden_vectors(exported, facts)
