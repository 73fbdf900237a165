"""The page of `aso-se demo` in a real browser answers as `aso-se predict` does."""

import json
import re
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import pytest
import torch
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo
from torch import nn

from pipeline.batches.randomness import generator
from pipeline.exporting.golden import FOLDER, golden_vectors
from pipeline.exporting.onnx_file import ModelFacts, export_onnx
from pipeline.predicting import INTO_SQUARE, RESAMPLING, open_model, predict
from pipeline.prepared.facts import Fit
from tests.demo.browser import Browser
from tests.demo.conftest import Page

pytestmark = pytest.mark.xdist_group("browser")
RGB = ModelFacts(
    classes=("cat", "dog", "<img src=x onerror=alert(1)>", "longer_than_a_phone_" * 5),
    height=16,
    width=16,
    channels=3,
    mean=(0.5, 0.4, 0.6),
    std=(0.3, 0.2, 0.3),
    genotype={},
    digests={},
)
GREY = replace(RGB, channels=1, mean=(0.3,), std=(0.4,))
Write = Callable[..., Path]
EXPORTED: dict[str, dict[str, bytes]] = {}
"""The files of each model that was made."""
ROUNDED = 0.0006
"""Largest difference of a probability that is shown in tenths of a percent, and a little."""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a model that looks at every pixel, with its golden vectors; return its file."""

    def written(facts: ModelFacts = RGB) -> Path:
        folder = tmp_path / "export"
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        for name, content in exported(facts).items():
            (folder / name).write_bytes(content)
        return folder / "model.onnx"

    return written


def exported(facts: ModelFacts) -> dict[str, bytes]:
    """Return the files of a model by name; each is made once."""
    if (key := repr(facts)) not in EXPORTED:
        pixels = facts.height * facts.width * facts.channels
        network = nn.Sequential(nn.Flatten(), nn.Linear(pixels, len(facts.classes))).eval()
        with torch.no_grad():
            for weights in network.parameters():
                weights.normal_(0, 2 / pixels**0.5, generator=generator(0, "demo"))
        model = export_onnx(network, facts)
        golden = golden_vectors(model, facts)
        EXPORTED[key] = {"model.onnx": model, **{f"{FOLDER}/{one}": golden[one] for one in golden}}
    return EXPORTED[key]


def photo(width: int, height: int) -> Image.Image:
    """Return a smooth picture with some noise, in which every part differs from the others."""
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(width).integers(-20, 20, (height, width, 3))
    waves = [np.sin(5 * x / width + k) * np.cos(4 * y / height - k) for k in range(3)]
    return Image.fromarray((128 + 90 * np.stack(waves, -1) + noise).clip(0, 255).astype(np.uint8))


def answer(browser: Browser) -> dict[str, float]:
    """Return the classes that the page shows, with their probabilities."""
    browser.wait("!document.getElementById('result').hidden")
    rows = browser.run(
        "[...document.querySelectorAll('#bars li')].map((row) => [...row.children].map((one) =>"
        " one.textContent))"
    )
    return {name: float(number.removesuffix(" %")) / 100 for name, _, number in rows}


def chosen(browser: Browser, path: Path) -> dict[str, float]:
    """Choose a file and return the answer to it."""
    browser.run("document.getElementById('result').hidden = true")
    browser.choose(path)
    return answer(browser)


def expected(model: Path, path: Path) -> dict[str, float]:
    """Return what `aso-se predict` says of a file."""
    [prediction] = predict(open_model(model), [path], top=5)
    assert not prediction.error
    return dict(prediction.classes)


def test_the_golden_images_agree_in_the_browser_and_nothing_is_asked_of_another_host(
    page: Page, write: Write
) -> None:
    browser = page.open(write())
    told = re.fullmatch(
        r"Self-test: 4 of 4 golden images agree, largest difference (.*)\.",
        browser.text("self-test"),
    )
    assert told
    assert float(told[1]) < 1e-5
    assert "4 classes" in browser.text("facts")
    assert browser.complaints == []
    hosts = browser.run(
        "[...new Set(performance.getEntriesByType('resource').map((one) =>"
        " new URL(one.name).host))].concat(location.host)"
    )
    assert len(set(hosts)) == 1


def test_a_golden_image_that_does_not_agree_is_counted(page: Page, write: Write) -> None:
    model = write()
    path = model.parent / FOLDER / "output_0.pb"
    tensor = onnx.load_tensor(str(path))
    logits = onnx.numpy_helper.to_array(tensor).copy()
    logits[2, 1] += 0.5
    path.write_bytes(onnx.numpy_helper.from_array(logits, tensor.name).SerializeToString())
    browser = page.open(model)
    told = browser.text("self-test")
    assert told == "Self-test: 3 of 4 golden images agree, largest difference 5.0e-1."
    assert browser.run("document.querySelector('.wrong').textContent") == told


def test_a_model_without_golden_images_says_so(page: Page, write: Write) -> None:
    model = write()
    alone = model.rename(model.parent.parent / "alone.onnx")
    browser = page.open(alone)
    assert browser.text("self-test") == "Self-test: there are no golden images beside the model."


def test_images_are_resized_as_pillow_does_to_the_last_bit(page: Page, write: Write) -> None:
    browser = page.open(write())
    source = np.random.default_rng(0)
    shapes = [(16, 16), (1, 1), (1, 90), (90, 1), (40, 17), (64, 200), (333, 21)]
    shapes += [(int(w), int(h)) for w, h in source.integers(1, 120, (20, 2))]
    for (width, height), fit in ((shape, fit) for shape in shapes for fit in get_args(Fit)):
        size = (16, 16) if width % 2 else (9, 9)
        pixels = source.integers(0, 256, (height, width, 4), dtype=np.uint8)
        pixels[..., 3] = 255
        image = Image.fromarray(pixels[..., :3].copy())
        right = np.asarray(INTO_SQUARE[fit](image, size, RESAMPLING))
        grey = np.asarray(Image.fromarray(right).convert("L"))
        found = browser.run(
            "(async () => { const { channelsOf, fitted } = await import('./pixels.js');"
            f"const data = {json.dumps(pixels.ravel().tolist())};"
            f"const image = {{ width: {width}, height: {height}, data }};"
            f"const seen = fitted(image, {size[0]}, {size[1]}, '{fit}');"
            "return [3, 1].map((one) => [...channelsOf(seen, one)]); })()"
        )
        np.testing.assert_array_equal(found[0], right.ravel(), err_msg=f"{width}x{height} {fit}")
        np.testing.assert_array_equal(found[1], grey.ravel())


@pytest.mark.parametrize("facts", [RGB, GREY, replace(RGB, fit="pad"), replace(RGB, any_size=True)])
def test_a_file_gets_the_answer_of_predict(
    page: Page, write: Write, facts: ModelFacts, tmp_path: Path
) -> None:
    model = write(facts)
    browser = page.open(model)
    linear = PngInfo()  # a remark on the colours, of which Pillow takes no notice
    linear.add(b"gAMA", struct.pack(">I", 100_000))
    pictures = {
        "wide.png": photo(130, 40),
        "tall.png": photo(30, 100),
        "small.png": photo(5, 7),
        "grey.png": photo(64, 48).convert("L"),
        "palette.png": photo(50, 50).quantize(64),
        "lossless.webp": photo(70, 60),
        "still.gif": photo(40, 60).quantize(64),
    }
    for name, picture in pictures.items():
        picture.save(tmp_path / name, lossless=True, pnginfo=linear)
        found = chosen(browser, tmp_path / name)
        assert found == pytest.approx(expected(model, tmp_path / name), abs=ROUNDED), name
    assert browser.complaints == []
    assert not browser.text("trouble")


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_photograph_gets_nearly_the_answer_of_predict(
    page: Page, write: Write, orientation: int, tmp_path: Path
) -> None:
    """Pillow decodes a large JPEG at a part of its size, which a browser does not."""
    model = write()
    browser = page.open(model)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for side, nearly in ((25, ROUNDED), (900, 0.01)):
        path = tmp_path / f"{side}.jpg"
        photo(side, 2 * side // 3).save(path, exif=exif, quality=95)
        assert chosen(browser, path) == pytest.approx(expected(model, path), abs=nearly)


def test_a_transparent_image_is_laid_on_white_as_predict_does(
    page: Page, write: Write, tmp_path: Path
) -> None:
    model = write()
    picture = photo(60, 60)
    picture.putalpha(ImageOps.invert(photo(60, 60).convert("L")))
    picture.save(tmp_path / "half.png")
    found = chosen(page.open(model), tmp_path / "half.png")
    assert found == pytest.approx(expected(model, tmp_path / "half.png"), abs=0.002)


def test_a_dropped_file_is_classified(page: Page, write: Write, tmp_path: Path) -> None:
    model = write()
    browser = page.open(model)
    photo(50, 40).save(tmp_path / "dropped.png")
    browser.drop(tmp_path / "dropped.png")
    right = expected(model, tmp_path / "dropped.png")
    assert answer(browser) == pytest.approx(right, abs=ROUNDED)
    assert browser.text("answer") == next(iter(right))


def test_a_file_that_is_no_image_is_one_line(page: Page, write: Write, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("hello")
    browser = page.open(write())
    browser.choose(tmp_path / "words.txt")
    browser.wait("!document.getElementById('trouble').hidden")
    told = "words.txt: this browser cannot read it as an image; try PNG or JPEG."
    assert browser.text("trouble") == told
    photo(20, 20).save(tmp_path / "image.png")
    assert chosen(browser, tmp_path / "image.png")
    assert not browser.text("trouble")


@pytest.mark.parametrize(("mean", "paper"), [(0.3, 0), (0.8, 255)])
def test_a_drawing_has_the_colours_of_the_training_images(
    page: Page, write: Write, mean: float, paper: int
) -> None:
    browser = page.open(write(replace(GREY, mean=(mean,))))
    browser.draw("canvas", (0.5, 0.1), (0.5, 0.5), (0.5, 0.9))
    before = answer(browser)
    seen = browser.run(
        "[...document.getElementById('seen').getContext('2d').getImageData(0, 0, 16, 16).data]"
    )
    levels = np.array(seen).reshape(16, 16, 4)[..., 0]
    assert (levels[:, :5] == paper).all()
    assert (abs(levels[4:12, 7:9] - paper) > 150).all()
    browser.click("clear")
    assert not browser.text("result")
    browser.draw("canvas", (0.1, 0.2), (0.9, 0.2))
    assert answer(browser) != before


def test_only_grey_models_are_drawn_for(page: Page, write: Write) -> None:
    assert not page.open(write()).text("drawing")


def test_a_picture_of_the_camera_is_classified_and_the_camera_ends(
    page: Page, write: Write
) -> None:
    browser = page.open(write())
    browser.click("camera")
    browser.wait("!document.getElementById('live').hidden")
    browser.run("window.taken = document.getElementById('video').srcObject.getTracks()[0], 0")
    browser.click("take")
    assert len(answer(browser)) == 4
    assert browser.run("taken.readyState") == "ended"
    assert browser.run("document.getElementById('video').srcObject") is None
    assert browser.text("drop")
    assert browser.complaints == []


def test_an_unsure_answer_says_that_the_image_may_show_none_of_the_classes(
    page: Page, write: Write, tmp_path: Path
) -> None:
    facts = replace(RGB, temperature=2.0, unsure_below=0.5)
    Image.new("RGB", (20, 20), (128, 102, 153)).save(tmp_path / "mean.png")
    photo(50, 50).save(tmp_path / "photo.png")
    model = write(facts)
    browser = page.open(model)
    for name, unsure in (("mean.png", True), ("photo.png", False)):
        [prediction] = predict(open_model(model), [tmp_path / name], top=1)
        assert prediction.unsure is unsure
        chosen(browser, tmp_path / name)
        assert ("none of the classes" in browser.text("answer")) is unsure
        assert "are calibrated" in browser.text("trust")
        assert "no class has 50.0 %" in browser.text("trust")


def test_without_a_calibration_the_page_says_so(page: Page, write: Write, tmp_path: Path) -> None:
    photo(50, 50).save(tmp_path / "photo.png")
    browser = page.open(write())
    chosen(browser, tmp_path / "photo.png")
    assert "not calibrated" in browser.text("trust")


@pytest.mark.parametrize("dark", [False, True])
def test_the_page_fits_a_phone_even_with_long_names(
    page: Page, write: Write, dark: bool, tmp_path: Path
) -> None:
    photo(50, 50).save(tmp_path / "photo.png")
    browser = page.open(write(GREY))
    browser.resize(390, 800, dark=dark)
    assert set(chosen(browser, tmp_path / "photo.png")) == set(RGB.classes)
    assert browser.run("document.documentElement.scrollWidth") == 390
    paper = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", paper))) < 128) is dark


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"hello", "not an ONNX file"),
        (onnx.ModelProto(ir_version=8).SerializeToString(), "expected a model of this project"),
        (
            onnx.ModelProto(
                metadata_props=[onnx.StringStringEntryProto(key="author", value="me")]
            ).SerializeToString(),
            "expected a model of this project",
        ),
    ],
)
def test_a_file_that_is_no_model_of_this_project_is_one_line(
    page: Page, content: bytes, told: str, tmp_path: Path
) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    browser = page.open(tmp_path / "model.onnx")
    assert told in browser.text("trouble")
    assert not browser.text("main")
