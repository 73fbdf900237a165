"""Depthwise convolution computes what torch's does, forwards and backwards."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from pipeline.batches.randomness import generator
from pipeline.space.depthwise import Depthwise, split


def images(*shape: int) -> Tensor:
    drawn = torch.randn(shape, generator=generator(0, "images"))
    return drawn.contiguous(memory_format=torch.channels_last).requires_grad_()


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
    found, expected = made(x), by_torch(made, x)
    assert found.shape == expected.shape
    gradient = torch.randn(found.shape, generator=generator(0, "gradient"))
    for one, other in zip(
        (found, *torch.autograd.grad(found, (x, made.weight), gradient)),
        (expected, *torch.autograd.grad(expected, (x, made.weight), gradient)),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


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
