"""The sheets show original photos, unless these are not what was prepared."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.params import DataParams
from pipeline.deriving.suspects import Suspect, write_suspects
from pipeline.harness.records import write_history
from pipeline.prepared.facts import SPLITS, read_facts
from pipeline.prepared.names import read_names
from pipeline.prepared.packing import read_split
from pipeline.reporting.findings import Findings, read_findings
from pipeline.reporting.photos import LONGEST, read_photos
from pipeline.reporting.pictures import draw
from pipeline.reporting.predictions import beside_examples
from pipeline.reporting.sheets import draw_mistakes, draw_suspects
from stages import prepare
from tests.reporting.conftest import NOWHERE, write_artifacts

CLASSES = ("ants", "bees")
SIZE = 16


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with 48 wide photos, which are prepared."""
    monkeypatch.chdir(tmp_path)
    source = np.random.default_rng(0)
    for name in CLASSES:
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(24):
            few = source.integers(0, 256, (30, 48, 3), dtype=np.uint8)
            photo = Image.fromarray(few).resize((480, 300))
            photo.save(tmp_path / "photos" / name / f"IMG_{number:04}.jpg")
    prepare_photos(tmp_path)
    return tmp_path


def prepare_photos(here: Path, **changes: object) -> None:
    settings = {"name": "image_folder", "path": "photos", "image_size": SIZE, "test_fraction": 0.3}
    data = DataParams.model_validate(settings | changes)
    prepare.main(prepare.Params(seed=1, data=data), here / "prepared")


def names(here: Path, split: str) -> tuple[str, ...]:
    return {one: read_names(here / "prepared", one) for one in SPLITS}[split] or ()


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_an_original_is_shown_whole_and_with_its_name(here: Path, fit: str) -> None:
    prepare_photos(here, fit=fit)
    places = [("train", 3), ("test", 0)]
    found = read_photos(here / "prepared", here / "photos", places, {})
    assert list(found) == places
    for (split, index), photo in found.items():
        assert photo.name == names(here, split)[index]
        assert photo.is_original
        assert photo.pixels.shape == (LONGEST * 300 // 480, LONGEST, 3)
        with Image.open(here / "photos" / photo.name) as original:
            half = np.asarray(original.reduce(2)).astype(int)
        assert np.abs(half - photo.pixels).mean() < 3


@pytest.mark.parametrize("damage", ["gone", "changed", "unreadable"])
def test_a_file_that_is_not_what_was_prepared_is_not_shown(here: Path, damage: str) -> None:
    path = here / "photos" / names(here, "test")[1]
    if damage == "gone":
        path.unlink()
    elif damage == "changed":
        Image.new("RGB", (480, 300), "yellow").save(path)
    else:
        path.write_bytes(path.read_bytes()[:500])
    found = read_photos(here / "prepared", here / "photos", [("test", 0), ("test", 1)], {})
    assert [photo.is_original for photo in found.values()] == [True, False]
    replaced = found["test", 1]
    assert (replaced.has_file, replaced.name) == (True, names(here, "test")[1])
    assert np.array_equal(replaced.pixels, read_split(here / "prepared", "test").images[1])


def test_images_without_files_are_shown_as_prepared(tmp_path: Path) -> None:
    artifacts = write_artifacts(tmp_path / "artifacts")
    found = read_findings(artifacts, NOWHERE)
    photo = found.photos["train", 1]
    assert (photo.name, photo.has_file, photo.is_original) == ("train 1", False, False)
    assert photo.pixels.shape == (5, 5, 3)


def of_photos(here: Path) -> Findings:
    """Findings whose data set are the photos: every second test image is misclassified."""
    artifacts = write_artifacts(here / "artifacts", CLASSES)
    for path in (here / "prepared").iterdir():
        (artifacts / "prepare" / path.name).write_bytes(path.read_bytes())
    labels = read_split(here / "prepared", "test").labels.tolist()
    rows = [
        {"actual": CLASSES[one], "predicted": CLASSES[(one + number) % 2], "probability": 0.9}
        for number, one in enumerate(labels)
    ]
    write_history(artifacts / "derive" / "confusion.tsv", rows)
    suspect = Suspect(
        split="train",
        index=2,
        name=names(here, "train")[2],
        label=int(read_split(here / "prepared", "train").labels[2]),
        looks_like=1,
        score=-1.0,
        place=0.0,
    )
    write_suspects(artifacts / "derive" / "suspects.csv", [suspect], CLASSES)
    return read_findings(artifacts, here / "photos")


def test_the_sheets_name_the_files_and_hold_small_photos(here: Path) -> None:
    found = of_photos(here)
    pairs = beside_examples(found.predictions)
    shown = [number for pair in pairs for number in pair if number is not None]
    assert len(shown) > len(pairs) == read_facts(here / "prepared").images("test") // 2
    words = [text.get_text() for text in draw_mistakes(found).texts]
    every = names(here, "test")
    assert [word for word in words if word in every] == [every[number] for number in shown]
    assert sum(word.startswith("is ") for word in words) == len(shown)
    above, below, name = [text.get_text() for text in draw_suspects(found).texts]
    assert above.startswith("labelled ")
    assert below == "looks like bees"
    assert name == names(here, "train")[2]
    sheet = draw(found)["mistakes"].svg
    assert sheet.count("data:image/jpeg;base64,") == len(shown)
    assert len(sheet) < len(shown) * 25_000
