"""A model that takes images of any size resizes them as training did: as Pillow does."""

import json
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from PIL import Image, ImageOps
from torch import Tensor

from pipeline.exporting.card import model_json
from pipeline.exporting.onnx_file import ModelFacts, export_onnx
from pipeline.exporting.params import ExportParams
from pipeline.exporting.parity import (
    RESIZING_LEVELS,
    measure_parity,
    measure_resizing,
    require_parity,
)
from pipeline.exporting.resizing import PREFIX, RESIZED, Resizing, take_apart
from pipeline.exporting.variants import to_half, to_int8
from pipeline.harness.errors import ParityError
from pipeline.prepared.facts import RESAMPLING
from pipeline.space.network import Network

pytestmark = pytest.mark.xdist_group("exporting")

SHAPES = [(40, 31), (31, 40), (5, 5), (300, 7), (1, 1), (9, 90)]
sides = st.integers(1, 60)


def noise(*shape: int) -> NDArray[np.uint8]:
    """Return black, white and random levels in equal parts, for overshooting sums and halves."""
    levels = np.random.default_rng(shape).choice([0, 85, 128, 170, 255], shape)
    return levels.astype(np.uint8)


def by_pillow(images: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """(N, H, W, 3) -> (N, height, width, 3), as `ImageOps.fit` does it.

    In two steps, rows first: in one, newer versions of Pillow begin with a tall image's columns.
    """
    _, rows, columns, _ = images.shape
    scale = min(rows / height, columns / width)
    left, top = (columns - width * scale) / 2, (rows - height * scale) / 2
    resized = []
    for image in images:
        across = (left, 0, left + width * scale, rows)
        narrow = Image.fromarray(image).resize(
            (width, rows), Image.Resampling[RESAMPLING], box=across
        )
        down = (0, top, width, top + height * scale)
        resized.append(
            np.asarray(narrow.resize((width, height), Image.Resampling[RESAMPLING], box=down))
        )
    return np.stack(resized)


def levels_apart(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> int:
    assert one.shape == other.shape
    return int(np.abs(one.astype(int) - other).max())


def session_of(model: bytes) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def session(any_size: bytes) -> onnxruntime.InferenceSession:
    return session_of(any_size)


@given(rows=sides, columns=sides, height=st.integers(1, 12), width=st.integers(1, 12))
def test_images_of_any_shape_become_what_pillow_makes_of_them(
    rows: int, columns: int, height: int, width: int
) -> None:
    images = noise(2, rows, columns, 3)
    resized = Resizing(height, width)(torch.from_numpy(images)).numpy()
    assert levels_apart(resized, by_pillow(images, height, width)) <= RESIZING_LEVELS


@given(rows=sides, wider=st.integers(0, 40), size=st.integers(1, 40))
def test_an_image_not_taller_than_wide_becomes_what_prepare_makes_of_it(
    rows: int, wider: int, size: int
) -> None:
    [image] = images = noise(1, rows, rows + wider, 3)
    [resized] = Resizing(size, size)(torch.from_numpy(images)).numpy()
    fitted = ImageOps.fit(Image.fromarray(image), (size, size), Image.Resampling[RESAMPLING])
    assert levels_apart(resized, np.asarray(fitted)) <= RESIZING_LEVELS


@given(rows=sides, wider=st.integers(0, 40), size=st.integers(1, 40))
def test_an_image_is_padded_as_prepare_pads_it(rows: int, wider: int, size: int) -> None:
    [image] = images = noise(1, rows, rows + wider, 3)
    [resized] = Resizing(size, size, "pad")(torch.from_numpy(images)).numpy()
    padded = ImageOps.pad(Image.fromarray(image), (size, size), Image.Resampling[RESAMPLING])
    assert levels_apart(resized, np.asarray(padded)) <= RESIZING_LEVELS


def test_a_model_that_pads_does_so_for_all_shapes_and_says_it(
    network: Network, any_size_facts: ModelFacts, exported: bytes
) -> None:
    facts = replace(any_size_facts, fit="pad")
    model = export_onnx(network, facts)
    levels = measure_resizing(model, facts)
    assert levels is not None
    assert levels <= RESIZING_LEVELS
    session = session_of(model)
    for shape in SHAPES:
        [image] = images = noise(1, *shape, 3)
        expected = np.asarray(ImageOps.pad(Image.fromarray(image), (9, 9)))
        [found] = session.run(["probabilities"], {"images": images})
        [wanted] = session_of(exported).run(["probabilities"], {"images": expected[None]})
        np.testing.assert_allclose(found, wanted, rtol=0, atol=0.01)
    told = json.loads(session.get_modelmeta().custom_metadata_map["input"])
    assert told["fit"] == "pad"


@given(height=sides, width=sides)
def test_images_of_the_model_s_own_size_stay_as_they_are(height: int, width: int) -> None:
    images = noise(2, height, width, 1)
    resized = Resizing(height, width)(torch.from_numpy(images))
    np.testing.assert_array_equal(resized.numpy(), images)


def test_height_and_width_are_free_in_the_file_and_told_by_its_metadata(
    session: onnxruntime.InferenceSession, any_size_facts: ModelFacts
) -> None:
    [images] = session.get_inputs()
    assert (images.name, images.type) == ("images", "tensor(uint8)")
    assert images.shape == ["batch", "height", "width", 3]
    told = json.loads(session.get_modelmeta().custom_metadata_map["input"])
    assert told == json.loads(model_json(any_size_facts))["input"]
    assert (told["height"], told["width"], told["any_size"]) == (9, 9, True)


def test_at_its_own_size_it_answers_as_the_model_of_one_size(
    session: onnxruntime.InferenceSession,
    any_size: bytes,
    exported: bytes,
    pixels: Tensor,
) -> None:
    rows = pixels.numpy()
    for found, expected in zip(
        session.run(None, {"images": rows}),
        session_of(exported).run(None, {"images": rows}),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)


def test_it_passes_the_gate_of_a_model_of_one_size(
    any_size: bytes, network: Network, facts: ModelFacts, pixels: Tensor
) -> None:
    parity = measure_parity(any_size, network, pixels, facts.mean, facts.std)
    require_parity(parity, ExportParams().max_difference)


@pytest.mark.parametrize("shape", SHAPES)
def test_an_image_of_another_size_gets_the_answer_to_what_pillow_makes_of_it(
    session: onnxruntime.InferenceSession, shape: tuple[int, int]
) -> None:
    images = noise(2, *shape, 3)
    found = session.run(["probabilities"], {"images": images})[0]
    expected = session.run(["probabilities"], {"images": by_pillow(images, 9, 9)})[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.01)  # a level or two of rounding


def test_another_runtime_resizes_likewise(any_size: bytes) -> None:
    """ONNX's own evaluator in numpy, which shares no code with ONNX Runtime."""
    resizing, _ = take_apart(onnx.load_from_string(any_size))
    for shape in SHAPES:
        images = noise(2, *shape, 3)
        [resized] = ReferenceEvaluator(resizing).run([RESIZED], {"images": images})
        assert levels_apart(resized, by_pillow(images, 9, 9)) <= RESIZING_LEVELS


@pytest.mark.parametrize("name", ["int8", "half"])
def test_smaller_models_resize_as_exactly(
    name: str, any_size: bytes, any_size_facts: ModelFacts, pixels: Tensor
) -> None:
    """Far from the corner too, where 16 bits cannot tell one pixel from the next."""
    small = {
        "int8": lambda: to_int8(any_size, any_size_facts, pixels.numpy()),
        "half": lambda: to_half(any_size, any_size_facts),
    }[name]()
    resizing, _ = take_apart(onnx.load_from_string(small))
    images = noise(1, 2, 5000, 3)
    images[:, :, 2499:2501] //= 2
    [resized] = session_of(resizing.SerializeToString()).run([RESIZED], {"images": images})
    assert levels_apart(resized, by_pillow(images, 9, 9)) <= RESIZING_LEVELS
    assert "height" in session_of(small).get_inputs()[0].shape


def test_the_difference_to_pillow_is_measured_where_the_model_resizes(
    any_size: bytes, any_size_facts: ModelFacts, exported: bytes, facts: ModelFacts
) -> None:
    levels = measure_resizing(any_size, any_size_facts)
    assert levels is not None
    assert 0 <= levels <= RESIZING_LEVELS
    assert measure_resizing(exported, facts) is None


def test_a_model_that_resizes_otherwise_is_refused_in_one_line(
    any_size: bytes, any_size_facts: ModelFacts
) -> None:
    model = onnx.load_from_string(any_size)
    for value in model.graph.initializer:
        array = onnx.numpy_helper.to_array(value)
        if value.name.startswith(PREFIX) and np.array_equal(array, np.float32(0.5)):
            value.CopyFrom(onnx.numpy_helper.from_array(np.float32(0.4) + 0 * array, value.name))
    with pytest.raises(ParityError) as refused:
        measure_resizing(model.SerializeToString(), any_size_facts)
    line = str(refused.value)
    assert "\n" not in line
    assert "of 255 levels, expected at most 2; no file was written" in line


def test_equal_networks_give_equal_bytes(
    any_size: bytes, network: Network, any_size_facts: ModelFacts
) -> None:
    assert export_onnx(network, any_size_facts) == any_size
