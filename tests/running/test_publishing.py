"""`aso-se publish` writes a model repository that stands on its own."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from PIL import Image
from ruamel.yaml import YAML
from torch import nn

from pipeline.exporting.card import Export
from pipeline.exporting.onnx_file import ModelFacts, export_onnx
from pipeline.exporting.parity import Parity
from pipeline.exporting.variants import Variant
from pipeline.exporting.writing import write_export
from pipeline.harness.errors import RunError
from pipeline.predicting import open_model, predict
from pipeline.running.publishing import publish

pytestmark = pytest.mark.xdist_group("exporting")
FACTS = ModelFacts(
    classes=("ape", "bee"),
    height=8,
    width=8,
    channels=1,
    mean=(0.5,),
    std=(0.5,),
    genotype={},
    digests={"model.safetensors": "0123456789abcdef" * 4},
)
SMALLER = Variant(name="int8", content=b"smaller", accuracy=0.9, agreement=0.9)


@pytest.fixture(scope="module")
def model() -> bytes:
    return export_onnx(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).eval(), FACTS)


@pytest.fixture
def tree(tmp_path: Path, model: bytes) -> Path:
    """A folder in which a run has left its model and its report."""
    write(tmp_path, model)
    report = tmp_path / "artifacts/report"
    report.mkdir()
    (report / "cells.png").write_bytes(b"a picture")
    (report / "mistakes.png").write_bytes(b"images of the data set")
    (report / "report.html").write_text(f"<p>{FACTS.digests['model.safetensors']}</p>")
    return tmp_path


def write(tree: Path, model: bytes, facts: ModelFacts = FACTS, **rest: Any) -> None:
    """Export a model as the stage does, its card included."""
    parity = Parity(images=8, max_difference=1e-6, agreement=1.0)
    about = {"metrics": {"test_accuracy": 0.97}, "parity": parity, "dataset": "pets", **rest}
    made = Export(facts=facts, architecture="Two cells.", model=model, **about)
    write_export(tree / "artifacts/export", made)


def published(tree: Path, licence: str | None = None) -> Path:
    assert publish(tree, tree / "out", licence) == 0
    return tree / "out"


def names(folder: Path) -> set[str]:
    return {one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file()}


def front_matter(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = YAML(typ="safe").load(
        (folder / "README.md").read_text().split("---")[1]
    )
    return found


def test_a_repository_has_card_model_picture_and_program_and_no_image_of_the_data_set(
    tree: Path,
) -> None:
    out = published(tree)
    golden = {f"test_data_set_0/{name}_0.pb" for name in ("input", "output")}
    own = {"README.md", "model.onnx", "model.json", "cells.png", "predicting.py"}
    assert names(out) == {*own, *golden, "test_data_set_0/output_1.pb"}
    for name in ("model.onnx", "model.json"):
        assert (out / name).read_bytes() == (tree / "artifacts/export" / name).read_bytes()
    assert (out / "cells.png").read_bytes() == b"a picture"


def test_smaller_models_are_published_with_their_list(tree: Path, model: bytes) -> None:
    write(tree, model, variants=[SMALLER])
    assert {"variants/model.int8.onnx", "variants/variants.json"} <= names(published(tree))


def test_the_card_shows_the_picture_and_what_becomes_of_an_image(tree: Path) -> None:
    card = (published(tree) / "README.md").read_text()
    page = MarkdownIt().enable("table").render(card.split("---", 2)[2])
    assert '<img src="cells.png" alt="The cells that were found"' in page
    headings = [line for line in card.splitlines() if line.startswith("## ")]
    steps = headings.index("## How an image becomes pixels")
    assert headings[steps - 1 : steps + 2] == ["## Use", headings[steps], "## Metrics"]
    assert "<li>Turn it as its EXIF orientation says.</li>" in page


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "to cover 8 x 8; crop it at the centre"),
        ({"fit": "pad"}, "to fit into 8 x 8; the rest is black"),
        ({"any_size": True}, "any size: the model makes it 8 x 8 itself"),
    ],
)
def test_the_card_says_how_an_image_gets_its_size(
    tree: Path, model: bytes, changes: dict[str, Any], told: str
) -> None:
    write(tree, model, replace(FACTS, **changes))
    card = (published(tree) / "README.md").read_text()
    assert told in card
    assert "Make it grey" in card


def test_the_licence_is_the_publishers(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = front_matter(published(tree, "cc-by-4.0"))
    assert facts["license"] == "cc-by-4.0"
    assert "license_name" not in facts
    assert "names no licence" not in capsys.readouterr().out


def test_without_a_licence_it_says_so_and_last_the_command_that_uploads(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = published(tree)
    assert front_matter(out)["license"] == "other"
    *_, warning, last = capsys.readouterr().out.splitlines()
    assert "--license NAME" in warning
    assert last.startswith(f"publish: hf upload USER/NAME {out} .  #")


def test_the_program_in_the_repository_predicts_without_the_project(tree: Path) -> None:
    out = published(tree)
    Image.effect_noise((30, 20), 90).save(out / "photo.png")
    done = subprocess.run(
        [sys.executable, "predicting.py", "model.onnx", "photo.png"],
        cwd=out,
        env={"PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    [expected] = predict(open_model(out / "model.onnx"), [out / "photo.png"], top=1)
    assert done.stdout.splitlines()[1].split()[1] == expected.classes[0][0]


@pytest.mark.parametrize(
    "missing",
    ["export/model.onnx", "export/model.json", "export/model_card.md", "report/cells.png"],
)
def test_what_is_missing_is_named_and_nothing_is_written(tree: Path, missing: str) -> None:
    (tree / "artifacts" / missing).unlink()
    with pytest.raises(RunError, match=f"artifacts/{missing}: no such file; 'aso-se run' makes it"):
        published(tree)
    assert not (tree / "out").exists()


def test_a_picture_of_another_model_is_refused(tree: Path) -> None:
    (tree / "artifacts/report/report.html").write_text("<p>another digest</p>")
    with pytest.raises(RunError, match="are of different models; 'aso-se run' renews them"):
        published(tree)


def test_a_folder_that_holds_something_is_refused(tree: Path) -> None:
    (tree / "out").mkdir()
    published(tree)
    before = names(tree / "out")
    with pytest.raises(RunError, match="out: exists and is not empty; name a new folder"):
        published(tree)
    assert names(tree / "out") == before


@pytest.mark.parametrize("name", ["", "Apache 2.0", "mit\nlicense: other", "-"])
def test_a_licence_that_is_no_short_name_is_refused(tree: Path, name: str) -> None:
    with pytest.raises(RunError, match="expected a short name, such as"):
        published(tree, name)
