"""A 1x1 convolution computes what torch's does, forwards and backwards."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pipeline.batches.randomness import generator
from pipeline.space.operations import convolution
from pipeline.space.pointwise import FEW_PIXELS, Pointwise
from tests.space.convolving import images, require_equal


def layer(inputs: int, outputs: int) -> nn.Conv2d:
    made = convolution(inputs, outputs, 1)
    nn.init.normal_(made.weight, generator=generator(0, "weights"))
    return made


@given(
    count=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
)
def test_outputs_and_gradients_are_those_of_torch(
    count: int, channels: tuple[int, int], size: tuple[int, int]
) -> None:
    made, x = layer(*channels), images(count, channels[0], *size)
    require_equal(made(x), F.conv2d(x, made.weight), x, made.weight)


@pytest.mark.parametrize("count", [1, FEW_PIXELS // 64 + 1])
def test_batches_stay_channels_last(count: int) -> None:
    x = images(count, 3, 8, 8)
    found = layer(3, 4)(x)
    (gradient,) = torch.autograd.grad(found.square().sum(), x)
    for tensor in (found, gradient):
        assert tensor.is_contiguous(memory_format=torch.channels_last)


def test_only_few_pixels_in_training_are_a_matrix_product() -> None:
    made, few, many = layer(3, 4), images(1, 3, 8, 8), images(FEW_PIXELS // 64 + 1, 3, 8, 8)
    assert isinstance(made, Pointwise)
    assert torch.equal(made(many), F.conv2d(many, made.weight))
    assert torch.equal(made.eval()(few), F.conv2d(few, made.weight))
    made.train().double()
    torch.testing.assert_close(made(few.double()), F.conv2d(few.double(), made.weight))


def test_strided_ones_are_left_to_torch() -> None:
    assert type(convolution(3, 4, 1, stride=2)) is nn.Conv2d
