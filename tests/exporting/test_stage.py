"""The stage writes the files that params ask for, with their measurements."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from torch import Tensor

from pipeline.comparison.references import References, write_references
from pipeline.costing.latency import key
from pipeline.costing.parts import parts_of
from pipeline.exporting.onnx_file import ModelFacts
from pipeline.exporting.params import ExportParams
from pipeline.harness.errors import ParamsError
from pipeline.harness.records import write_json
from pipeline.prepared.facts import read_facts
from pipeline.prepared.labelled import Labelled, Splits
from pipeline.prepared.packing import write_dataset
from pipeline.space.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from pipeline.space.network import Network
from pipeline.targeting.params import TargetParams
from stages.export import Params, main
from tests.conftest import measures
from tests.exporting.conftest import MEAN, STD

FREE = TargetParams()
ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.xdist_group("exporting")


@pytest.fixture
def artifacts(network: Network, facts: ModelFacts, pixels: Tensor, tmp_path: Path) -> Path:
    """Return the results of the stages before it: images with arbitrary labels, and the network."""
    images = pixels[:32].numpy()
    split = Labelled(images=images, labels=np.arange(len(images)) % len(facts.classes))
    write_dataset(
        tmp_path / "prepare",
        name="noise",
        classes=facts.classes,
        splits=Splits(train=split, validation=split, test=split),
        mean=MEAN,
        std=STD,
    )
    derived = {"stage": "derive", "metrics": measures(facts.classes)}
    model = Checkpoint.of(network, facts=derived)
    write_checkpoint(tmp_path / "derive" / "model.safetensors", model)
    write_references(tmp_path / "reference" / "references.json", References())
    return tmp_path


def calibrate(artifacts: Path) -> dict[str, float]:
    """Write a calibration into derive's metrics, as its stage does; return it."""
    fitted = {"temperature": 2.5, "unsure_below": 0.3}
    path = artifacts / "derive" / "model.safetensors"
    derived = read_checkpoint(path)
    measured = {**derived.fact("metrics"), **fitted, "test_calibration_error_before": 0.2}
    facts = {"stage": "derive", "metrics": measured}
    write_checkpoint(path, Checkpoint.of(derived.network, facts=facts))
    return fitted


def export(artifacts: Path, *, target: TargetParams = FREE, **params: Any) -> Path:
    out = artifacts / "export"
    asked = Params(target=target, export=ExportParams(accuracy_tolerance=0.5, **params))
    main(asked, artifacts / "prepare", artifacts / "derive", artifacts / "reference", out)
    return out


def metrics(out: Path) -> Any:
    return json.loads((out / "metrics.json").read_text())


def test_a_model_of_one_size_is_the_default_and_nothing_is_said_of_resizing(
    artifacts: Path,
) -> None:
    out = export(artifacts)
    assert json.loads((out / "model.json").read_text())["input"]["any_size"] is False
    assert metrics(out).keys() == {"images", "max_difference", "agreement", "onnx_bytes"}


def test_the_calibration_of_derive_is_in_all_models_and_in_their_facts(artifacts: Path) -> None:
    fitted = calibrate(artifacts)
    out = export(artifacts, half=True)
    assert json.loads((out / "model.json").read_text())["calibration"] == fitted
    for name in ("model.onnx", "variants/model.half.onnx"):
        session = onnxruntime.InferenceSession(out / name)
        assert json.loads(session.get_modelmeta().custom_metadata_map["calibration"]) == fitted
        images = np.full((1, 9, 9, 3), 90, np.uint8)
        [logits], [probabilities] = session.run(None, {"images": images})
        expected = np.exp(logits / 2.5) / np.exp(logits / 2.5).sum()
        np.testing.assert_allclose(probabilities, expected, rtol=0, atol=2e-3)
    assert "softmax(logits / 2.5)" in (out / "model_card.md").read_text()


def test_the_card_says_what_was_asked_what_was_estimated_and_what_came(artifacts: Path) -> None:
    out = export(artifacts, target=TargetParams(parameters=10**6, kilobytes=900.0))
    size = (out / "model.onnx").stat().st_size
    found = metrics(out)["target"]
    assert found.keys() == {"parameters", "kilobytes"}
    assert found["parameters"]["estimated"] == found["parameters"]["measured"]
    assert found["kilobytes"]["asked"] == 900
    assert found["kilobytes"]["measured"] == size / 1000
    assert found["kilobytes"]["estimated"] == pytest.approx(size / 1000, rel=0.1)
    assert f"| {size / 1000:,.6g} |" in (out / "model_card.md").read_text()
    assert "asked at most" not in (export(artifacts) / "model_card.md").read_text()


def test_the_time_of_an_image_is_said_and_not_written(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(artifacts)
    target = TargetParams(milliseconds=5.0)
    with pytest.raises(ParamsError, match=r"latency.json: cannot be read: .*'aso-se latency'"):
        export(artifacts, target=target)
    network = read_checkpoint(artifacts / "derive" / "model.safetensors").network
    size = (network.blueprint, read_facts(artifacts / "prepare").height)
    parts = parts_of(size[0], (size[1], size[1]))
    choices = [part for found in parts.choices.values() for part in found]
    table = {key(part, size[0].space): 0.001 for part in [*parts.fixed, *choices]}
    write_json(artifacts / "latency.json", {"machine": "a test", "milliseconds": table})
    one, other = (export(artifacts, target=target) / "metrics.json" for _ in range(2))
    assert one.read_bytes() == other.read_bytes()
    assert metrics(one.parent)["target"]["milliseconds"].keys() == {"asked", "estimated"}
    assert "ms an image on one thread; asked 5, estimated 0.0" in capsys.readouterr().out


def test_the_smaller_models_are_listed_for_programs_and_those_of_an_earlier_run_are_gone(
    artifacts: Path,
) -> None:
    folder = export(artifacts, half=True) / "variants"
    [listed] = json.loads((folder / "variants.json").read_text())
    assert listed["file"] == "model.half.onnx"
    assert listed["bytes"] == (folder / listed["file"]).stat().st_size
    assert listed["accuracy"] == metrics(folder.parent)["half_accuracy"]
    assert listed["agreement"] == metrics(folder.parent)["half_agreement"]

    export(artifacts)
    assert [path.name for path in folder.iterdir()] == ["variants.json"]
    assert json.loads((folder / "variants.json").read_text()) == []


def test_models_of_any_size_are_written_with_the_measured_difference(artifacts: Path) -> None:
    out = export(artifacts, any_size=True, half=True)
    assert json.loads((out / "model.json").read_text())["input"]["any_size"] is True
    assert 0 <= metrics(out)["resizing_levels"] <= 2
    assert f"{metrics(out)['resizing_levels']} of 255 levels" in (out / "model_card.md").read_text()
    for name in ("model.onnx", "variants/model.half.onnx"):
        session = onnxruntime.InferenceSession(out / name)
        images = np.zeros((1, 23, 17, 3), np.uint8)
        assert session.run(["probabilities"], {"images": images})[0].shape == (1, 5)


def test_the_benchmark_of_the_models_compares_all_that_were_written(artifacts: Path) -> None:
    out = export(artifacts, any_size=True, int8=True, half=True)
    command = [sys.executable, "benchmarks/export.py", str(artifacts), "--rounds", "1"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    models = json.loads(done.stdout)["models"]
    assert list(models) == ["torch", "model", "model.half", "model.int8"]
    assert models["model"]["bytes"] == (out / "model.onnx").stat().st_size
    assert models["model"]["as torch"] == metrics(out)["agreement"] == 1
    assert models["model.int8"]["as model"] == metrics(out)["int8_agreement"]
    assert models["model.half"].keys() == models["torch"].keys()
    assert models["torch"]["ms for 32"] > 0
