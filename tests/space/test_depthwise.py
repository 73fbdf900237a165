"""Depthwise convolution computes what torch's does, forwards and backwards."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from pipeline.batches.randomness import generator
from pipeline.space.depthwise import PRODUCTS, Depthwise, split
from tests.space.convolving import images, require_equal


def layer(channels: int, kernel: int, stride: int, dilation: int) -> Depthwise:
    made = Depthwise(channels, kernel, stride=stride, dilation=dilation)
    nn.init.normal_(made.weight, generator=generator(0, "weights"))
    return made


def by_torch(made: Depthwise, x: Tensor) -> Tensor:
    return F.conv2d(
        x, made.weight, None, made.stride, made.padding, made.dilation, made.in_channels
    )


@given(
    count=st.integers(1, 3),
    channels=st.integers(1, 4),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kernel=st.sampled_from([3, 5, 7]),
    strides=st.sampled_from([(1, 1), (2, 1), (1, 2), (2, 2)]),
)
def test_outputs_and_gradients_are_those_of_torch(
    count: int, channels: int, size: tuple[int, int], kernel: int, strides: tuple[int, int]
) -> None:
    made = layer(channels, kernel, *strides)
    x = images(count, channels, *size)
    require_equal(made(x), by_torch(made, x), x, made.weight)


@pytest.mark.parametrize(("size", "stride", "dilation"), [(4, 1, 1), (4, 2, 1), (8, 1, 2)])
def test_products_of_many_images_are_added_up_part_by_part(
    size: int, stride: int, dilation: int
) -> None:
    made, x = layer(64, 5, stride, dilation), images(128, 64, size, size)
    assert 2 * PRODUCTS < 128 * 64 * 2**2 * 4**2  # the fewest, at stride 2
    require_equal(made(x), by_torch(made, x), x, made.weight, tolerance=1e-4)


@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(5, 1, 1), (5, 2, 1), (5, 1, 2)])
def test_batches_stay_channels_last(kernel: int, stride: int, dilation: int) -> None:
    made, x = layer(4, kernel, stride, dilation), images(2, 4, 8, 8)
    found = made(x)
    (gradient,) = torch.autograd.grad(found.sum(), x)
    for tensor in (found, gradient):
        assert tensor.is_contiguous(memory_format=torch.channels_last)


def test_evaluation_and_other_types_are_left_to_torch() -> None:
    made, x = layer(2, 5, 1, 2), images(1, 2, 5, 5)
    expected = by_torch(made, x)
    assert torch.equal(made.eval()(x), expected)
    torch.testing.assert_close(made.train().double()(x.double()).float(), expected)


def test_a_constant_kernel_gets_no_gradient() -> None:
    made, x = layer(2, 5, 1, 1).requires_grad_(False), images(1, 2, 5, 5)
    made(x).sum().backward()
    assert made.weight.grad is None
    assert x.grad is not None


@given(size=st.tuples(st.integers(1, 7), st.integers(1, 7)), step=st.integers(1, 3))
def test_a_part_has_every_so_many_rows_and_columns(size: tuple[int, int], step: int) -> None:
    x = images(2, 3, *size)
    parts = split(x, step).unflatten(0, (step, step, 2))
    for row in range(step):
        for column in range(step):
            part = x[:, :, row::step, column::step]
            height, width = part.shape[2:]
            assert torch.equal(parts[row, column, :, :, :height, :width], part)
            assert parts[row, column].count_nonzero() == part.count_nonzero()
