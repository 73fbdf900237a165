"""Each image is changed by one operation; the operations are those of torchvision."""

from collections.abc import Callable

import pytest
import torch
import torchvision.transforms.v2.functional as T
from torch import Tensor

from pipeline.batches.params import AugmentationParams
from pipeline.batches.randomness import generator
from pipeline.batches.trivial import OPERATIONS, trivial_augment
from tests.conftest import context

PIXELS = torch.randint(256, (6, 3, 16, 16), generator=generator(0, "pixels"), dtype=torch.uint8)
GREY = PIXELS[:, :1]
TORCHVISION: dict[int, Callable[[Tensor, float], Tensor]] = {
    0: lambda x, _: x,
    1: lambda x, by: T.affine(x, 0.0, [0, 0], 1.0, [slope(by), 0.0], T.InterpolationMode.BILINEAR),
    2: lambda x, by: T.affine(x, 0.0, [0, 0], 1.0, [0.0, slope(by)], T.InterpolationMode.BILINEAR),
    3: lambda x, by: T.affine(x, 0.0, [-round(32 * by), 0], 1.0, [0.0, 0.0]),
    4: lambda x, by: T.affine(x, 0.0, [0, -round(32 * by)], 1.0, [0.0, 0.0]),
    5: lambda x, by: T.rotate(x, 135 * by, T.InterpolationMode.BILINEAR),
    6: lambda x, by: T.adjust_brightness(x, 1 + 0.99 * by),
    8: lambda x, by: T.adjust_contrast(x, 1 + 0.99 * by),
    9: lambda x, by: T.adjust_sharpness(x, 1 + 0.99 * by),
    10: lambda x, by: T.posterize(x, 8 - round(6 * abs(by))),
    11: lambda x, by: T.solarize(x, 255 * (1 - abs(by))),
    12: lambda x, _: T.autocontrast(x),
    13: lambda x, _: T.equalize(x),
}
"""All but color, whose grey is a plain mean here: number -> function of pixels and strength."""


def slope(by: float) -> float:
    return float(torch.tensor(0.99 * by).atan().rad2deg())


@pytest.mark.parametrize("by", [-1.0, -0.25, 0.0, 0.5, 1.0])
@pytest.mark.parametrize("number", TORCHVISION)
def test_an_operation_does_what_that_of_torchvision_does(number: int, by: float) -> None:
    expected = TORCHVISION[number](GREY, by).float()
    found = OPERATIONS[number](GREY.float(), torch.full((6, 1, 1, 1), by)).clamp(0, 255)
    inside = (slice(None), slice(None), slice(1, -1), slice(1, -1))  # sharpness ends at the border
    assert float((found - expected)[inside].abs().max()) <= 2  # theirs rounds
    assert len(OPERATIONS) == 14


def test_color_leads_from_grey_to_twice_the_difference_from_it() -> None:
    pixels, color = PIXELS.float(), OPERATIONS[7]
    grey = pixels.mean(1, keepdim=True)
    for by in (-1.0, 0.0, 1.0):
        found = color(pixels, torch.full((6, 1, 1, 1), by))
        torch.testing.assert_close(found, grey + (1 + 0.99 * by) * (pixels - grey))


def test_every_image_gets_one_operation_of_its_own() -> None:
    pixels = PIXELS[:1].expand(700, -1, -1, -1)
    changed = trivial_augment(pixels, generator(0, "trivial"))
    assert changed.is_contiguous(memory_format=torch.channels_last)
    assert float(changed.min()) >= 0
    assert float(changed.max()) <= 255
    kinds = {tuple(one.flatten().tolist()) for one in changed}
    strengths = torch.arange(-30, 31)[:, None, None, None] / 30
    possible = {
        tuple(one.flatten().tolist())
        for operation in OPERATIONS
        for one in operation(pixels[:61].float(), strengths).clamp(0, 255)
    }
    assert len(kinds) > 200
    assert kinds <= possible
    unchanged = sum(torch.equal(one, pixels[0].float()) for one in changed)
    assert 700 / 14 < unchanged < 3 * 700 / 14  # also operations of strength 0


def test_it_is_off_by_default_and_drawn_by_the_purpose_alone() -> None:
    def batches(*, trivial: bool, epoch: int = 1) -> Tensor:
        params = AugmentationParams(trivial=trivial)
        given = context(augmentation=params)
        return torch.cat([batch for batch, _ in given.batches(given.images, ("test", epoch))])

    assert torch.equal(batches(trivial=True), batches(trivial=True))
    assert not torch.equal(batches(trivial=True), batches(trivial=False))
    assert not torch.equal(batches(trivial=True), batches(trivial=True, epoch=2))
