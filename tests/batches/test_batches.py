"""Batches hold every image once, in an order that depends on the purpose, ready for a network."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipeline.batches.batches import batch_indices, evaluation_batches, normalise, training_batches
from pipeline.batches.images import Images
from pipeline.batches.params import AugmentationParams

PLAIN = AugmentationParams(crop_padding=0, flip=False, cutout=0)
VARIED = AugmentationParams(crop_padding=2, flip=True, cutout=3)


def make(count: int, channels: int = 3, side: int = 8) -> Images:
    """Random images; the label of each is its number."""
    generator = torch.Generator().manual_seed(count)
    pixels = torch.randint(
        256, (count, side, side, channels), dtype=torch.uint8, generator=generator
    )
    return Images(
        pixels=pixels.permute(0, 3, 1, 2),
        labels=torch.arange(count),
        mean=torch.linspace(0.4, 0.6, channels),
        std=torch.linspace(0.2, 0.3, channels),
    )


def epoch(
    images: Images, augmentation: AugmentationParams = PLAIN, *, seed: int = 0, epoch: int = 1
) -> list[tuple[Tensor, Tensor]]:
    return list(
        training_batches(
            images, batch_size=16, augmentation=augmentation, seed=seed, purpose=("search", epoch)
        )
    )


@given(count=st.integers(1, 200), batch_size=st.integers(1, 70))
def test_an_epoch_holds_every_image_once(count: int, batch_size: int) -> None:
    batches = batch_indices(count, batch_size, torch.Generator().manual_seed(0))
    assert sorted(torch.cat(batches).tolist()) == list(range(count))
    sizes = [len(batch) for batch in batches]
    assert set(sizes[:-1]) <= {batch_size}
    assert sizes[-1] <= batch_size + 1


def test_images_may_stay_where_they_are_while_batches_are_on_the_device() -> None:
    here = make(9)
    there = Images(
        pixels=here.pixels,
        labels=here.labels.to("meta"),
        mean=here.mean.to("meta"),
        std=here.std.to("meta"),
    )
    batches = list(evaluation_batches(there, 4))
    assert {tensor.device.type for batch in batches for tensor in batch} == {"meta"}
    assert sum(len(batch) for batch, _ in batches) == 9


@given(count=st.integers(2, 200), batch_size=st.integers(2, 70))
def test_no_batch_is_a_single_image(count: int, batch_size: int) -> None:
    batches = batch_indices(count, batch_size, torch.Generator().manual_seed(0))
    assert min(map(len, batches)) > 1
    assert min(len(labels) for _, labels in evaluation_batches(make(count, 1, 2), batch_size)) > 1


@pytest.mark.parametrize(
    ("count", "sizes"), [(48, [16] * 3), (50, [16, 16, 16, 2]), (49, [16, 16, 17]), (5, [5])]
)
def test_the_last_batch_is_kept(count: int, sizes: list[int]) -> None:
    assert [len(labels) for _, labels in epoch(make(count))] == sizes


def test_images_keep_their_labels() -> None:
    images = make(50)
    for batch, labels in epoch(images):
        assert torch.equal(batch, normalise(images.pixels[labels], images.mean, images.std))


def test_equal_purposes_give_equal_batches() -> None:
    images = make(50)
    for (first, labels), (again, same) in zip(
        epoch(images, VARIED), epoch(images, VARIED), strict=True
    ):
        assert torch.equal(first, again)
        assert torch.equal(labels, same)


def test_another_epoch_or_seed_has_another_order() -> None:
    images = make(50)
    (_, first), *_ = epoch(images)
    for (_, other), *_ in (epoch(images, epoch=2), epoch(images, seed=1)):
        assert not torch.equal(first, other)


def test_two_batches_are_augmented_differently() -> None:
    one = make(2)
    images = Images(
        pixels=one.pixels[:1].expand(32, -1, -1, -1),
        labels=one.labels[:1].expand(32),
        mean=one.mean,
        std=one.std,
    )
    (first, _), (second, _) = epoch(images, VARIED)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("augmentation", [PLAIN, VARIED])
def test_a_batch_is_ready_for_a_network(channels: int, augmentation: AugmentationParams) -> None:
    images = make(20, channels)
    for batch, labels in (*epoch(images, augmentation), *evaluation_batches(images, 16)):
        assert batch.shape[1:] == (channels, 8, 8)
        assert batch.dtype == torch.float32
        assert batch.is_contiguous(memory_format=torch.channels_last)
        assert labels.dtype == torch.int64


def test_evaluation_keeps_order_and_pixels() -> None:
    images = make(50)
    batches, labels = zip(*evaluation_batches(images, 16), strict=True)
    assert torch.equal(torch.cat(labels), images.labels)
    assert torch.equal(torch.cat(batches), normalise(images.pixels, images.mean, images.std))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_normalised_is_minus_mean_over_std_of_fractions(dtype: torch.dtype) -> None:
    images = make(10)
    before = images.pixels.to(dtype)
    pixels = before.clone()
    expected = (before.double() / 255 - images.mean[:, None, None]) / images.std[:, None, None]
    torch.testing.assert_close(
        normalise(pixels, images.mean, images.std).double(), expected, rtol=0, atol=1e-5
    )
    assert torch.equal(pixels, before)


def test_what_is_cut_out_is_the_mean() -> None:
    blank = AugmentationParams(crop_padding=0, flip=False, cutout=15)
    batch, _ = epoch(make(8), blank)[0]
    assert torch.count_nonzero(batch) < batch.numel() / 2
    assert torch.any(torch.count_nonzero(batch.flatten(1), 1) == 0)
