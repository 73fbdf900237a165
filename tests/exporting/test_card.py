"""The model card says what it should, and its example runs."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from markdown_it import MarkdownIt
from PIL import Image
from ruamel.yaml import YAML
from torch import Tensor, nn

from pipeline.comparison.references import Reference, References
from pipeline.exporting import card as cards
from pipeline.exporting.architecture import architecture_of
from pipeline.exporting.card import Export, model_json
from pipeline.exporting.onnx_file import ModelFacts, export_onnx
from pipeline.exporting.parity import Parity
from pipeline.exporting.variants import Variant
from pipeline.harness.showing import shown
from pipeline.photos.decoding import read_image
from pipeline.space.network import Network

pytestmark = pytest.mark.xdist_group("exporting")

METRICS = {
    "test_accuracy": 0.9725,
    "test_loss": 0.10001,
    "measures_by_class": {
        name: {"precision": 0.75, "recall": recall, "f1": 0.7}
        for name, recall in {"ape": 1.0, "bee": 0.95, "cat": 0.9, "dog": 0.85, "a|b": 0.8}.items()
    },
    "test_calibration_error": 0.0312,
    "test_images": 1234,
    "parameters": 56789,
}


def model_card(facts: ModelFacts, metrics: Mapping[str, Any], parity: Parity, **rest: Any) -> str:
    """Return the card of an export that was compared with nothing, unless `rest` says so."""
    return cards.model_card(Export(facts=facts, metrics=metrics, parity=parity, **rest))


SMALLER = Variant(name="int8", content=bytes(1234), accuracy=0.97, agreement=0.995)
PARITY = Parity(images=1234, max_difference=1.234e-6, agreement=1.0)


@pytest.fixture(scope="module")
def card(facts: ModelFacts, network: Network) -> str:
    architecture = architecture_of(network)
    return model_card(
        facts,
        METRICS,
        PARITY,
        architecture=architecture,
        dataset="pets",
        variants=[SMALLER],
        references=References(),
    )


def test_it_begins_with_what_hugging_face_reads(card: str) -> None:
    _, front_matter, _ = card.split("---\n", 2)
    document = YAML(typ="safe").load(front_matter)
    assert document["license"] == "other"  # depends on the images, which are not ours
    assert document["pipeline_tag"] == "image-classification"
    assert {"image-classification", "onnx"} <= set(document["tags"])
    [result] = document["model-index"][0]["results"]
    assert result["dataset"] == {"name": "pets", "type": "pets", "split": "test"}
    assert result["metrics"] == [{"type": "accuracy", "value": 0.9725}]


def test_it_claims_no_result_that_was_not_measured(facts: ModelFacts) -> None:
    card = model_card(
        facts, {}, PARITY, architecture="", dataset="pets", variants=[], references=References()
    )
    assert "model-index" not in card
    assert "## Smaller models" not in card


def test_it_says_who_wins_and_what_each_reference_reached(facts: ModelFacts) -> None:
    assert "## Compared with" not in model_card(
        facts, METRICS, PARITY, architecture="", dataset="pets", variants=[]
    )
    best = Reference(
        name="resnet",
        title="ResNet-20 of equal size",
        test_accuracy=0.98,
        low=0.9705,
        high=0.9865,
        difference=-0.0075,
        p_value=0.03,
        verdict="worse",
        parameters=56_001,
        epochs=30,
    )
    card = model_card(
        facts,
        METRICS,
        PARITY,
        architecture="",
        dataset="pets",
        variants=[],
        references=References(compared=(best,)),
    )
    assert "The best reference, ResNet-20 of equal size (98.0%), is better than the found" in card
    row = "| ResNet-20 of equal size | 0.9800 | 0.9705 to 0.9865 | worse | 56,001 | 30 |"
    assert row in card


def test_it_lists_smaller_models_with_size_and_agreement(card: str) -> None:
    assert "| `variants/model.int8.onnx` | 1,234 | 0.9700 | 99.50% |" in card


def test_its_example_names_the_class_of_a_photograph(
    card: str, exported: bytes, facts: ModelFacts, pixels: Tensor, tmp_path: Path
) -> None:
    """A phone's photograph: large, not square, and turned by a note in the file."""
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: to be turned by 90 degrees
    picture = Image.fromarray(pixels[0].numpy()).resize((120, 90), Image.Resampling.NEAREST)
    picture.save(tmp_path / "photograph.png", exif=exif)
    (tmp_path / "model.onnx").write_bytes(exported)

    lines = run_example(card, tmp_path, "photograph.png")

    images = read_image(tmp_path / "photograph.png", 9)[None]
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    [probabilities] = session.run(["probabilities"], {"images": images})[0]
    best = np.argsort(probabilities)[::-1][:3]
    assert lines == [f"{probabilities[i]:.1%} {facts.classes[i]}" for i in best]


def test_its_example_reads_grey_images_too(facts: ModelFacts, tmp_path: Path) -> None:
    bright = nn.Linear(1, 2)
    bright.load_state_dict({"weight": torch.tensor([[9.0], [-9.0]]), "bias": torch.zeros(2)})
    grey = replace(facts, classes=("light", "dark"), channels=1, mean=(0.5,), std=(0.2,))
    network = nn.Sequential(nn.Flatten(2), Mean(), bright).eval()
    (tmp_path / "model.onnx").write_bytes(export_onnx(network, grey))
    Image.new("RGB", (20, 30), "black").save(tmp_path / "night.png")
    lines = run_example(
        model_card(
            grey, {}, PARITY, architecture="", dataset="pets", variants=[], references=References()
        ),
        tmp_path,
        "night.png",
    )
    assert lines == ["100.0% dark", "0.0% light"]


def test_its_example_gives_a_model_of_any_size_the_photograph_as_it_is(
    any_size: bytes, any_size_facts: ModelFacts, pixels: Tensor, tmp_path: Path
) -> None:
    picture = Image.fromarray(pixels[0].numpy()).resize((50, 40), Image.Resampling.BILINEAR)
    picture.save(tmp_path / "photograph.png")
    (tmp_path / "model.onnx").write_bytes(any_size)
    card = model_card(
        any_size_facts, {}, PARITY, architecture="", resizing=1, dataset="pets", variants=[]
    )

    lines = run_example(card, tmp_path, "photograph.png")

    session = onnxruntime.InferenceSession(any_size, providers=["CPUExecutionProvider"])
    [probabilities] = session.run(["probabilities"], {"images": np.asarray(picture)[None]})[0]
    best = np.argsort(probabilities)[::-1][:3]
    assert lines == [f"{probabilities[i]:.1%} {any_size_facts.classes[i]}" for i in best]


def test_it_says_which_sizes_the_model_takes_and_how_well_it_resizes(
    facts: ModelFacts, any_size_facts: ModelFacts
) -> None:
    one = model_card(
        facts, {}, PARITY, architecture="", dataset="pets", variants=[], references=References()
    )
    any_size = model_card(
        any_size_facts, {}, PARITY, architecture="", resizing=1, dataset="pets", variants=[]
    )
    assert "N is free, H x W is 9 x 9." in one
    assert "It takes one size of images" in one
    assert "by at most 1 of 255 levels" not in words(one)
    assert "| input | `images` | uint8 | (N, H, W, 3) |" in any_size
    assert "The model resizes them to 9 x 9 as training did" in words(any_size)
    assert "differ from Pillow's by at most 1 of 255 levels." in words(any_size)
    assert "It takes one size of images" not in any_size


def test_it_states_the_contract_the_metrics_and_their_split(card: str) -> None:
    assert "| input | `images` | uint8 | (N, 9, 9, 3) |" in card
    assert "| output | `probabilities` | float32 | (N, 5) |" in card
    assert "| test_accuracy | 0.9725 | the test split |" in card
    assert "| parameters | 56,789 | the network |" in card
    assert "| 1 | bee | 0.7500 | 0.9500 | 0.7000 |" in card
    assert "at most 1e-06; the predicted class is the same for 100.00%." in card


def test_it_shows_each_node_of_the_genotype(card: str) -> None:
    assert (
        "| normal | 0 | `max_pool_3x3` of the cell before the previous one,"
        " `avg_pool_3x3` of the previous cell |"
    ) in card
    assert "| reduction | 2 | `conv_3x3` of node 0, `skip_connect` of node 1 |" in card


def test_it_says_which_cells_the_network_has_and_what_a_grown_one_does(card: str) -> None:
    assert "with the channels of a node: normal 4, reduction 8" in card
    assert re.search(r"normal \d+ \(grown\)\.\nA grown cell adds its output, times a learnt", card)


def test_no_name_of_a_class_breaks_a_table(card: str) -> None:
    assert r"| 4 | a\|b | 0.7500 | 0.8000 | 0.7000 |" in card


def test_no_name_of_a_class_is_html_or_a_link_or_turns_the_line(facts: ModelFacts) -> None:
    names = ("<svg onload=alert(1)>", "[here](javascript:alert(1))", "abc\u202egpj.exe", "x\x1b[2J")
    hostile = replace(facts, classes=names)
    metrics = {name: value for name, value in METRICS.items() if name != "measures_by_class"}
    card = model_card(hostile, metrics, PARITY, architecture="", dataset="pets")
    assert not {"\u202e", "\x1b"} & set(card)
    [*_, table] = re.split(r"## Classes\n", card)
    html = MarkdownIt("commonmark").enable("table").render(table.partition("\n## ")[0])
    assert not re.search("<(svg|a|img)", html)
    for name in names:
        assert escape(shown(name)) in html


def test_a_card_says_that_probabilities_are_not_calibrated_and_which_param_allows_it(
    card: str,
) -> None:
    assert "They are not calibrated" in card
    assert "`optimize.use_validation: false`" in card
    assert "have not been calibrated" in card
    assert (
        "the expected calibration error (Guo et al. 2017, 15 intervals; 0 is best) is 0.0312."
        in (words(card))
    )
    assert "unsure" not in card


def test_a_calibrated_card_names_temperature_error_and_threshold(
    calibrated_facts: ModelFacts,
) -> None:
    metrics = {
        **METRICS,
        "test_calibration_error_before": 0.0745,
        "temperature": 1.7321,
        "unsure_below": 0.4321,
    }
    card = model_card(
        calibrated_facts, metrics, PARITY, architecture="", dataset="pets", variants=[SMALLER]
    )
    assert "softmax(logits / 1.7321)" in card
    assert "is 0.0312, without the temperature 0.0745." in words(card)
    assert "likeliest class is below 0.4321." in card
    assert "| temperature | 1.7321 | the validation split |" in card
    assert "The temperature was fitted to `model.onnx`" in card
    assert "not calibrated" not in card
    assert "not been calibrated" not in card


def test_model_json_holds_the_metadata_of_the_file(facts: ModelFacts, exported: bytes) -> None:
    model = onnx.load_from_string(exported)
    metadata = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert json.loads(model_json(facts)) == metadata


def words(text: str) -> str:
    """Return a text without its line breaks."""
    return " ".join(text.split())


class Mean(nn.Module):
    """(N, C, pixels) -> (N, C)."""

    def forward(self, rows: Tensor) -> Tensor:
        return rows.mean(2)


def run_example(card: str, folder: Path, image: str) -> list[str]:
    """Run the program in the card; return its lines."""
    [program] = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    assert program.count("\n") <= 12
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, image],
        cwd=folder,
        capture_output=True,
        check=True,
        text=True,
    )
    return result.stdout.splitlines()
