"""Augmentation moves, mirrors and blanks; it never invents a pixel."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.batches.augmentation import augment, cut_out, recolor, zoom
from pipeline.batches.params import AugmentationParams

SIZES = st.tuples(*[st.integers(1, 7)] * 4)
SEEDS = st.integers(0, 2**31)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_pixels(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Random pixels, none of them black."""
    pixels = torch.randint(1, 256, shape, dtype=torch.uint8, generator=seeded(seed))
    return pixels.contiguous(memory_format=torch.channels_last)


def params(*, crop_padding: int = 0, flip: bool = False) -> AugmentationParams:
    return AugmentationParams(crop_padding=crop_padding, flip=flip, cutout=0)


@given(shape=SIZES, seed=SEEDS)
def test_without_padding_and_flip_nothing_changes(shape: tuple[int, ...], seed: int) -> None:
    pixels = random_pixels(shape, seed)
    assert torch.equal(augment(pixels, params(), seeded(seed)), pixels)


def crops(image: Tensor, padding: int, *, flip: bool) -> list[Tensor]:
    """Return all possible crops of one (C, H, W) image."""
    _, H, W = image.shape
    framed = torch.nn.functional.pad(image, (padding,) * 4)
    cut = [
        framed[:, top : top + H, left : left + W]
        for top in range(2 * padding + 1)
        for left in range(2 * padding + 1)
    ]
    return cut + [crop.flip(2) for crop in cut] if flip else cut


@settings(max_examples=50)
@given(shape=SIZES, padding=st.integers(0, 3), flip=st.booleans(), seed=SEEDS)
def test_every_output_is_a_crop_of_the_padded_input(
    shape: tuple[int, ...], padding: int, flip: bool, seed: int
) -> None:
    pixels = random_pixels(shape, seed)
    augmented = augment(pixels, params(crop_padding=padding, flip=flip), seeded(seed))
    assert augmented.dtype == torch.uint8
    assert augmented.is_contiguous(memory_format=torch.channels_last)
    for image, result in zip(pixels, augmented, strict=True):
        assert any(torch.equal(result, crop) for crop in crops(image, padding, flip=flip))


def test_every_crop_and_both_sides_come_equally_often() -> None:
    image = random_pixels((1, 3, 5, 5))
    possible = crops(image[0], 1, flip=True)
    many = image.expand(9000, -1, -1, -1)
    augmented = augment(many, params(crop_padding=1, flip=True), seeded(0))
    counts = torch.stack([(augmented == crop).flatten(1).all(1).sum() for crop in possible])
    assert counts.sum() == 9000
    assert torch.all((counts - 500).abs() < 100)  # standard deviation 22


def test_the_same_generator_gives_the_same_images() -> None:
    pixels = random_pixels((64, 3, 8, 8))
    first, again, other = (
        augment(pixels, params(crop_padding=2, flip=True), seeded(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@given(shape=SIZES, side=st.integers(1, 9), seed=SEEDS)
def test_cutout_blanks_one_square_and_touches_nothing_else(
    shape: tuple[int, ...], side: int, seed: int
) -> None:
    batch = random_pixels(shape, seed).float()
    holes = cut_out(batch, side=side, generator=seeded(seed)) == 0
    assert torch.equal(holes.all(1), holes.any(1))
    for image in holes[:, 0]:
        rows, columns = image.any(1), image.any(0)
        assert torch.equal(image, rows[:, None] & columns[None, :])
        for covered in (rows, columns):
            where = covered.nonzero().flatten().tolist()
            assert where == list(range(where[0], where[-1] + 1))
            assert 1 <= len(where) <= side


def test_cutout_keeps_what_it_does_not_blank_and_its_layout() -> None:
    batch = random_pixels((16, 3, 8, 8)).float()
    result = cut_out(batch, side=4, generator=seeded(0))
    assert torch.equal(result[result != 0], batch[result != 0])
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(result, cut_out(batch, side=4, generator=seeded(0)))


def test_a_square_may_be_centred_on_any_pixel() -> None:
    batch = torch.ones(2000, 1, 5, 5)
    counts = (cut_out(batch, side=1, generator=seeded(0)) == 0).sum((0, 1))
    assert counts.sum() == 2000
    assert counts.min() > 40  # 80 on average, standard deviation 9


@pytest.mark.parametrize("side", [3, 4])
def test_a_square_inside_the_image_has_its_full_size(side: int) -> None:
    holes = cut_out(torch.ones(500, 1, 16, 16), side=side, generator=seeded(0)) == 0
    assert holes.sum((1, 2, 3)).max() == side * side


@settings(max_examples=50)
@given(shape=SIZES, smallest=st.floats(0.05, 1), seed=SEEDS)
def test_a_zoomed_image_has_only_values_between_those_it_had(
    shape: tuple[int, ...], smallest: float, seed: int
) -> None:
    pixels = random_pixels(shape, seed)
    zoomed = zoom(pixels, smallest=smallest, size=pixels.shape[2:], generator=seeded(seed))
    assert zoomed.shape == pixels.shape
    assert zoomed.is_contiguous(memory_format=torch.channels_last)
    low, high = (pixels.float().amin((2, 3)), pixels.float().amax((2, 3)))
    assert (zoomed.amin((2, 3)) >= low - 1e-3).all()
    assert (zoomed.amax((2, 3)) <= high + 1e-3).all()


def test_a_zoom_shows_a_part_of_the_image_and_every_part_comes() -> None:
    ramp = torch.arange(64.0).expand(1, 1, 64, 64).expand(2000, -1, -1, -1)  # a pixel is its column
    zoomed = zoom(ramp, smallest=0.25, size=(64, 64), generator=seeded(0))
    first, last = zoomed[:, 0, 0, 0], zoomed[:, 0, 0, -1]
    widths = last - first
    assert (widths > 0).all()
    # Of a quarter of the area, at the narrowest shape: 64 * sqrt(0.25 / (4 / 3)) = 27.7 columns.
    assert 26 < widths.min() < 32
    assert widths.max() > 62
    assert first.min() < 1
    assert last.max() > 62
    assert first.max() > 30


@settings(max_examples=50)
@given(shape=SIZES, strength=st.floats(0, 0.9), seed=SEEDS)
def test_recoloured_images_stay_in_range_and_strength_0_changes_nothing(
    shape: tuple[int, ...], strength: float, seed: int
) -> None:
    pixels = random_pixels(shape, seed)
    recoloured = recolor(pixels, strength=strength, generator=seeded(seed))
    assert recoloured.shape == pixels.shape
    assert (recoloured >= 0).all()
    assert (recoloured <= 255).all()
    plain = recolor(pixels, strength=0.0, generator=seeded(seed))
    torch.testing.assert_close(plain, pixels.float(), atol=1e-3, rtol=0)


def test_each_image_is_changed_by_factors_of_its_own() -> None:
    grey = torch.full((500, 3, 2, 2), 100.0)
    levels = recolor(grey, strength=0.3, generator=seeded(0))[:, 0, 0, 0]
    assert 69 < levels.min() < 75  # brightness alone moves an even grey
    assert 125 < levels.max() < 131
    assert len(levels.unique()) > 400
