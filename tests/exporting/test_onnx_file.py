"""The exported file: its input, its outputs, and what it does not reveal."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

import pipeline
from pipeline.exporting.onnx_file import ModelFacts, export_onnx
from pipeline.space.checkpoint import Checkpoint, write_checkpoint
from pipeline.space.network import Network

pytestmark = pytest.mark.xdist_group("exporting")

EXPORT = """\
import sys
from pathlib import Path
from pipeline.space.checkpoint import read_checkpoint
from pipeline.exporting.onnx_file import ModelFacts, export_onnx

network = read_checkpoint(Path("model.safetensors")).network.eval()
sys.stdout.buffer.write(export_onnx(network, {facts!r}))
"""


class Colour(nn.Module):
    """The mean of each channel: as many outputs as channels."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))


@pytest.fixture(scope="module")
def session(exported: bytes) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def model(exported: bytes) -> onnx.ModelProto:
    return onnx.load_from_string(exported)


def test_the_file_is_of_opset_18_and_ir_version_8(model: onnx.ModelProto) -> None:
    assert model.ir_version == 8
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 18)]


def test_raw_pixels_go_in_and_scores_come_out(session: onnxruntime.InferenceSession) -> None:
    ends = [*session.get_inputs(), *session.get_outputs()]
    assert [(end.name, end.type, end.shape) for end in ends] == [
        ("images", "tensor(uint8)", ["batch", 9, 9, 3]),
        ("logits", "tensor(float)", ["batch", 5]),
        ("probabilities", "tensor(float)", ["batch", 5]),
    ]


@pytest.mark.parametrize("size", [1, 7, 256])
@torch.no_grad()
def test_it_computes_what_the_network_does_on_normalised_images(
    session: onnxruntime.InferenceSession, network: Network, pixels: Tensor, size: int
) -> None:
    images = (pixels[:size].float() / 255 - torch.tensor([0.5, 0.4, 0.6])) / torch.tensor(
        [0.3, 0.2, 0.3]
    )
    expected = network(images.permute(0, 3, 1, 2))
    logits, _ = session.run(None, {"images": pixels[:size].numpy()})
    np.testing.assert_allclose(logits, expected.numpy(), rtol=0, atol=1e-4)


def test_probabilities_are_the_softmax_of_the_logits(
    session: onnxruntime.InferenceSession, pixels: Tensor
) -> None:
    logits, probabilities = session.run(None, {"images": pixels.numpy()})
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=0, atol=1e-6)
    softmax = torch.from_numpy(logits).softmax(1).numpy()
    np.testing.assert_allclose(probabilities, softmax, rtol=0, atol=1e-6)


def test_calibrated_probabilities_are_the_softmax_of_the_logits_over_the_temperature(
    session: onnxruntime.InferenceSession, calibrated: bytes, pixels: Tensor
) -> None:
    found = onnxruntime.InferenceSession(calibrated, providers=["CPUExecutionProvider"])
    logits, probabilities = found.run(None, {"images": pixels.numpy()})
    softmax = (torch.from_numpy(logits) / 1.7321).softmax(1).numpy()
    np.testing.assert_allclose(probabilities, softmax, rtol=0, atol=1e-6)
    plain, before = session.run(None, {"images": pixels.numpy()})
    np.testing.assert_array_equal(logits, plain)
    assert np.abs(probabilities - before).max() > 0.01


def test_a_model_that_is_not_calibrated_divides_nothing(
    model: onnx.ModelProto, calibrated: bytes
) -> None:
    plain = [node.op_type for node in model.graph.node]
    divided = [node.op_type for node in onnx.load_from_string(calibrated).graph.node]
    assert divided == [*plain[:-1], "Div", "Softmax"]


def test_the_file_says_how_it_was_calibrated(
    facts: ModelFacts, calibrated_facts: ModelFacts
) -> None:
    expected = {"temperature": 1.7321, "unsure_below": 0.4321}
    assert calibrated_facts.to_dict()["calibration"] == expected
    assert facts.to_dict()["calibration"] is None


def test_another_process_in_another_folder_writes_the_same_bytes_and_no_line(
    exported: bytes, network: Network, facts: ModelFacts, tmp_path: Path
) -> None:
    write_checkpoint(tmp_path / "model.safetensors", Checkpoint.of(network))
    root = Path(*pipeline.__path__).parent
    result = subprocess.run(
        [sys.executable, "-W", "always", "-c", EXPORT.format(facts=facts)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        check=False,
    )
    assert result.stderr == b""
    assert result.stdout == exported


def test_the_file_does_not_tell_where_when_or_with_what_it_was_written(
    exported: bytes, model: onnx.ModelProto
) -> None:
    assert str(Path.cwd()).encode() not in exported
    names = onnx.ModelProto()
    names.CopyFrom(model)
    for weight in names.graph.initializer:
        weight.ClearField("raw_data")  # any bytes, by chance those of a word too
    for trace in ("/", r"\.py", "site-packages", "torch", r"\d{4}-\d\d-\d\d"):
        assert not re.search(trace, str(names)), trace
    assert (model.producer_name, model.producer_version) == ("aso-se", "")


def test_the_file_needs_no_other(model: onnx.ModelProto) -> None:
    assert model.graph.initializer
    for weight in model.graph.initializer:
        assert weight.data_location == onnx.TensorProto.DEFAULT
        assert not weight.external_data


def test_the_metadata_are_the_facts_as_json(model: onnx.ModelProto, facts: ModelFacts) -> None:
    metadata = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert metadata == json.loads(json.dumps(facts.to_dict()))
    assert metadata["classes"] == list(facts.classes)


def test_a_viewer_shows_what_the_model_is_and_which_layer_a_node_belongs_to(
    model: onnx.ModelProto, facts: ModelFacts
) -> None:
    assert f"images of {len(facts.classes)} classes" in model.doc_string
    names = [node.name for node in model.graph.node]
    assert len({*names}) == len(names)
    assert {"head.Gemm", "Softmax"} <= {*names}
    for node in model.graph.node:
        for weight in node.input:
            if weight.startswith("network.cells.") and weight.endswith(".weight"):
                layer, _ = weight.removeprefix("network.").removesuffix(".weight").rsplit(".", 1)
                assert re.fullmatch(rf"{re.escape(layer)}\.\w+\.{node.op_type}", node.name)


def test_batchnorm_is_folded_into_the_convolution_before_it(model: onnx.ModelProto) -> None:
    maker = {name: node.op_type for node in model.graph.node for name in node.output}
    norms = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    # What remains follows a pooling or joins the two halves of a factorized reduction.
    assert {maker[norm.input[0]] for norm in norms} == {"MaxPool", "AveragePool", "Concat"}


def test_a_network_of_another_number_of_classes_is_refused(facts: ModelFacts) -> None:
    with pytest.raises(ValueError, match="3 outputs for 5 classes"):
        export_onnx(Colour().eval(), facts)


def test_facts_name_one_mean_and_deviation_per_channel(facts: ModelFacts) -> None:
    with pytest.raises(ValueError, match="1 channels, 3 means, 3 deviations"):
        replace(facts, channels=1)
