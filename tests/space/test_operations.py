"""Candidates fit on every possible edge, and BatchNorm normalises batches."""

from math import ceil

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from pipeline.batches.randomness import generator
from pipeline.space.batch_norm import BatchNorm, parts_of_a_batch
from pipeline.space.layers import Layer
from pipeline.space.network import initialize
from pipeline.space.operations import FactorizedReduce, MeanOfFour, build_operation, relu_conv_norm
from pipeline.space.registry import SPACES

SIZES = [(8, 8), (7, 7), (9, 6), (5, 1), (1, 1)]


ALL = [(space, one) for space in SPACES.values() for one in space.operations]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    "layers", [one.layers for _, one in ALL if one.layers], ids=lambda layers: str(len(layers))
)
def test_every_operation_keeps_the_channels_and_divides_any_size_by_its_stride(
    layers: tuple[Layer, ...], stride: int
) -> None:
    operation = build_operation(layers, 6, stride)
    for height, width in SIZES:
        output = operation(torch.randn(2, 6, height, width))
        assert output.shape == (2, 6, ceil(height / stride), ceil(width / stride))


@given(inputs=st.integers(1, 9), half=st.integers(1, 5), size=st.tuples(*[st.integers(1, 9)] * 2))
def test_what_matches_two_cells_takes_any_channels_to_any_others(
    inputs: int, half: int, size: tuple[int, int]
) -> None:
    images = torch.randn(2, inputs, *size)
    assert relu_conv_norm(inputs, 2 * half)(images).shape == (2, 2 * half, *size)
    halved = tuple(ceil(length / 2) for length in size)
    assert FactorizedReduce(inputs, 2 * half)(images).shape == (2, 2 * half, *halved)


@given(st.tuples(*[st.integers(1, 9)] * 2))
def test_a_factorized_reduction_sees_the_diagonal_of_every_block_of_four_pixels(
    size: tuple[int, int],
) -> None:
    reduction = FactorizedReduce(2, 4).eval()
    initialize(reduction, generator(0, "reduction"))
    images = (torch.rand(1, 2, *size) + 0.5).requires_grad_()
    reduction(images).square().sum().backward()
    assert images.grad is not None
    rows, columns = torch.meshgrid(*map(torch.arange, size), indexing="ij")
    seen = (rows + columns) % 2 == 0
    assert torch.equal(images.grad != 0, seen.expand(1, 2, *size))


@given(st.tuples(*[st.integers(1, 9)] * 2), st.integers(0, 99))
def test_the_mean_of_four_is_torchs_pool_that_rounds_up(size: tuple[int, int], seed: int) -> None:
    images = torch.randn(2, 3, *size, generator=generator(seed, "images"))
    pooled = nn.AvgPool2d(2, 2, ceil_mode=True)(images)
    torch.testing.assert_close(MeanOfFour()(images), pooled, rtol=1e-6, atol=1e-6)


def test_a_factorized_reduction_to_an_odd_number_of_channels_is_refused() -> None:
    with pytest.raises(ValueError, match="even number of output channels, got 5"):
        FactorizedReduce(4, 5)


def test_batch_norm_equals_torchs_in_training_and_in_evaluation() -> None:
    ours, theirs = BatchNorm(3), nn.BatchNorm2d(3)
    with torch.no_grad():
        for norm in (ours, theirs):
            norm.weight.copy_(torch.tensor([0.5, 1.0, 2.0]))
            norm.bias.copy_(torch.tensor([-1.0, 0.0, 1.0]))
    for step in range(3):
        batch = 2 * torch.randn(4, 3, 5, 5, generator=generator(step, "batch")) + 1
        assert torch.equal(ours(batch), theirs(batch))
        assert torch.equal(ours.running_mean, theirs.running_mean)
        assert torch.equal(ours.running_var, theirs.running_var)
    ours.eval()
    theirs.eval()
    assert torch.equal(ours(batch), theirs(batch))


@given(
    copies=st.integers(1, 3),
    size=st.tuples(st.integers(2, 5), st.integers(1, 4), st.integers(1, 4)),
    seed=st.integers(0, 99),
)
def test_equal_parts_in_several_processes_are_normalised_as_one_batch(
    copies: int, size: tuple[int, int, int], seed: int
) -> None:
    count, height, width = size
    source = generator(seed, "parts")
    images = 7 + 3 * torch.randn(count, 3, height, width, generator=source, dtype=torch.float64)
    target = torch.randn(images.shape, generator=source, dtype=torch.float64)
    whole, part = BatchNorm(3).double(), BatchNorm(3).double()
    for norm in (whole, part):
        norm.running_mean += 5
        torch.nn.init.normal_(norm.weight, generator=generator(seed, "weights"))
    batch = images.repeat(copies, 1, 1, 1).requires_grad_()
    expected = whole(batch)
    (expected * target.repeat(copies, 1, 1, 1)).sum().backward()

    def add_up(tensors: list[Tensor]) -> None:
        for one in tensors:
            one.mul_(copies)

    with parts_of_a_batch(add_up):
        found = part(images.requires_grad_())
    (found * target).sum().backward()

    def same(one: Tensor | None, other: Tensor | None) -> None:
        assert one is not None
        assert other is not None
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)

    same(found, expected[:count])
    assert batch.grad is not None
    same(images.grad, batch.grad[:count])
    for ours, theirs in zip(part.parameters(), whole.parameters(), strict=True):
        same(copies * ours.grad if ours.grad is not None else None, theirs.grad)
    same(part.running_mean, whole.running_mean)
    same(part.running_var, whole.running_var)
