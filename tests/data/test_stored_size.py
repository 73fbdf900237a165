"""Training may see parts of larger images; everything else sees the same pixels as without them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.batches.batches import evaluation_batches, training_batches
from pipeline.batches.images import read_images, read_training_images
from pipeline.batches.params import AugmentationParams
from pipeline.data.params import DataParams
from pipeline.harness.errors import DataError, ParamsError
from pipeline.harness.params_file import parse_params
from pipeline.params import Params as AllParams
from pipeline.photos.decoding import read_image
from pipeline.prepared.names import read_names
from pipeline.prepared.packing import IMAGES, LARGER
from stages.prepare import Params, main

ROOT = Path(__file__).resolve().parents[2]
PARAMS = (ROOT / "params.yaml").read_text()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, the current one, with photos of two classes in fine stripes."""
    monkeypatch.chdir(tmp_path)
    source = np.random.default_rng(0)
    for name in ("ants", "bees"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(12):
            pixels = source.integers(0, 60, (32, 32, 3), dtype=np.uint8)
            pixels[:, ::2] += 180
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path


def prepare(out: Path, **changes: Any) -> Path:
    data = {"name": "image_folder", "path": "photos", "image_size": 16, **changes}
    main(Params(seed=1, data=DataParams(**data)), out)
    return out


def test_larger_images_change_nothing_but_what_training_reads(here: Path) -> None:
    plain, stored = prepare(here / "plain"), prepare(here / "stored", stored_size=32)
    assert not (plain / LARGER).exists()
    assert (plain / IMAGES).read_bytes() == (stored / IMAGES).read_bytes()
    for split in ("train", "validation", "test"):
        images = read_images(stored, split, "cpu")
        assert images.larger is None
        assert torch.equal(images.pixels, read_images(plain, split, "cpu").pixels)
    assert read_training_images(plain, "train", "cpu").larger is None


def test_training_and_validation_images_have_the_pixels_of_their_files(here: Path) -> None:
    folder = prepare(here / "stored", stored_size=24)
    images = read_training_images(folder, "train", "cpu", through="validation")
    names = (*(read_names(folder, "train") or ()), *(read_names(folder, "validation") or ()))
    assert images.larger is not None
    for name, small, large in zip(names, images.pixels, images.larger, strict=True):
        for pixels, side in ((small, 16), (large, 24)):
            expected = read_image(here / "photos" / name, side)
            assert np.array_equal(pixels.permute(1, 2, 0).numpy(), expected)
    some = images.part(slice(None, None, 3))
    assert some.larger is not None
    assert torch.equal(some.larger, images.larger[::3])


def test_a_download_has_larger_images_too(here: Path) -> None:
    folder = prepare(here / "digits", name="digits", image_size=6, stored_size=8)
    images = read_training_images(folder, "train", "cpu")
    assert images.larger is not None
    assert images.larger.shape == (*images.pixels.shape[:2], 8, 8)
    assert images.larger.unique().numel() == 17  # the levels of the digits as they are


def stripes(batch: torch.Tensor) -> float:
    """Mean difference of neighbouring columns."""
    return float(batch.diff(dim=3).abs().mean())


def test_training_sees_parts_in_the_detail_that_evaluation_does_not(here: Path) -> None:
    folder = prepare(here / "stored", stored_size=32)
    augmentation = AugmentationParams(crop_padding=0, zoom=0.2)
    found = {}
    for read in (read_images, read_training_images):
        images = read(folder, "train", "cpu")
        [(batch, labels)] = training_batches(
            images, batch_size=32, augmentation=augmentation, seed=1, purpose=("test",)
        )
        assert batch.shape == images.pixels.shape
        assert sorted(labels.tolist()) == sorted(images.labels.tolist())
        found[read.__name__] = stripes(batch)
        assert all(plain.shape[2:] == (16, 16) for plain, _ in evaluation_batches(images, 32))
    assert found["read_training_images"] > 3 * found["read_images"]


def test_damaged_larger_images_are_refused_in_one_line(here: Path) -> None:
    folder = prepare(here / "stored", stored_size=32)
    whole = (folder / LARGER).read_bytes()
    for content in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), b""):
        (folder / LARGER).write_bytes(content)
        read_images(folder, "validation", "cpu")
        with pytest.raises(DataError, match=rf"{LARGER}: .*; run 'dvc repro"):
            read_training_images(folder, "validation", "cpu")
    (folder / LARGER).unlink()
    with pytest.raises(DataError, match=rf"{LARGER}: cannot be read"):
        read_training_images(folder, "train", "cpu")


def test_the_facts_name_the_larger_images(here: Path) -> None:
    plain, stored = prepare(here / "plain"), prepare(here / "stored", stored_size=32)
    facts, larger = (json.loads((one / "dataset.json").read_text()) for one in (plain, stored))
    assert larger.keys() - facts.keys() == {"stored_size", "stored_sha256"}


@pytest.mark.parametrize(
    ("size", "zoom", "reason"),
    [
        (8, 0.5, "expected null, or 9 to 16 with an image_size of 8, got 8"),
        (17, 0.5, "expected null, or 9 to 16 with an image_size of 8, got 17"),
        (16, 1.0, "larger images are only of use if augmentation.zoom cuts parts"),
    ],
)
def test_a_size_of_no_use_is_refused_in_one_line(size: int, zoom: float, reason: str) -> None:
    text = PARAMS.replace("stored_size:  ", f"stored_size: {size}  ").replace(
        "zoom: 1.0 ", f"zoom: {zoom} "
    )
    with pytest.raises(ParamsError) as refused:
        parse_params(AllParams, text, "params.yaml", whole=True)
    assert str(refused.value).startswith(f"params.yaml: data.stored_size: {reason}")
