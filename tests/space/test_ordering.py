"""Gradients of images stay channels_last on their way through a network; else they are slow."""

from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.autograd.graph import Node

from pipeline.batches.randomness import generator
from pipeline.optimizing.auxiliary import AuxiliaryHead
from pipeline.referencing.resnet import build_resnet
from pipeline.space.network import build
from pipeline.space.ordering import concatenate, mean_of_pixels, ordered
from pipeline.space.registry import SPACES
from pipeline.space.relaxation import EdgeWeights
from tests.conftest import of_space, tiny_blueprint

SLOW = ("NativeBatchNormBackward0", "ReluBackward0")
"""Nodes of a graph that take several times as long for a gradient in another order."""


def images(channels: int) -> Tensor:
    pixels = torch.randn(2, channels, 9, 8).contiguous(memory_format=torch.channels_last)
    return pixels.requires_grad_()


def graph(node: Node | None, seen: set[Node]) -> Iterator[Node]:
    if node is not None and node not in seen:
        seen.add(node)
        yield node
        for following, _ in node.next_functions:
            yield from graph(following, seen)


def orders(loss: Tensor) -> list[bool]:
    """Return of the gradient of every BatchNorm and ReLU whether it is channels_last."""
    found: list[bool] = []

    def note(gradients: tuple[Tensor, ...]) -> None:
        found.append(gradients[0].is_contiguous(memory_format=torch.channels_last))

    for node in graph(loss.grad_fn, set()):
        if node.name() in SLOW:
            node.register_prehook(note)
    torch.autograd.backward(loss)
    return found


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("name", SPACES)
def test_all_operations_of_a_supernet_get_ordered_gradients(name: str, *, gated: bool) -> None:
    blueprint = tiny_blueprint(**of_space(name) | {"operations": SPACES[name].names})
    network = build(blueprint, generator=generator(0, "weights"))
    shape = (blueprint.architectures, len(blueprint.edges), len(blueprint.operations))
    everything = (tuple(range(shape[2])),) * shape[1]
    gates = torch.rand(shape, requires_grad=True) if gated else None
    weights = EdgeWeights(active=(everything,) * shape[0], gates=gates)
    found = orders(network(images(3), weights).square().sum())
    assert len(found) > shape[1]
    assert all(found)


@pytest.mark.parametrize(
    "network",
    [
        build_resnet(
            3, 4, 2, stem=1, generator=generator(0, "weights"), device=torch.device("cpu")
        ),
        AuxiliaryHead(3, 2).to(memory_format=torch.channels_last),
    ],
    ids=lambda network: type(network).__name__,
)
def test_a_resnet_and_the_second_head_get_ordered_gradients(network: nn.Module) -> None:
    found = orders(network(images(3)).square().sum())
    assert found
    assert all(found)


@given(st.integers(1, 4), st.integers(1, 4))
def test_values_and_gradients_are_those_of_torch(first: int, second: int) -> None:
    one, other = images(first), images(second)
    pairs: list[tuple[Callable[[], Tensor], Callable[[], Tensor]]] = [
        (lambda: ordered(one)[:, :, 1:, 1:], lambda: one[:, :, 1:, 1:]),
        (lambda: mean_of_pixels(one), lambda: one.mean((2, 3))),
        (lambda: concatenate([one, other]), lambda: torch.cat([one, other], dim=1)),
    ]
    for ours, of_torch in pairs:
        found, expected = ours(), of_torch()
        assert torch.equal(found, expected)
        weight, inputs = torch.randn_like(found), [one, other]
        given_, wanted = (
            torch.autograd.grad((x * weight).sum(), inputs, allow_unused=True)
            for x in (found, expected)
        )
        for a, b in zip(given_, wanted, strict=True):
            assert a is b or torch.equal(a, b)
