"""A weight step updates what ran, and nothing else."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.batches.randomness import generator
from pipeline.harness.errors import TrainingFailedError
from pipeline.space.relaxation import EdgeWeights, skip_only
from pipeline.training.optimizers import Sgd
from pipeline.training.params import TrainingParams
from pipeline.training.steps import Tally, descend
from tests.conftest import snapshot, tiny, tiny_network

PLAIN = {"momentum": 0.0, "weight_decay": 0.0}


@given(st.floats(0.01, 100), st.floats(0.01, 10))
def test_a_gradient_is_scaled_down_to_the_clip_and_never_up(length: float, clip: float) -> None:
    weights = torch.nn.Parameter(torch.zeros(4))
    optimizer = Sgd.of([weights], tiny(TrainingParams, gradient_clip=clip, **PLAIN))
    loss = weights @ torch.full((4,), length / 2)
    descend(optimizer, [loss], learning_rate=1.0)
    assert float(weights.detach().norm()) == pytest.approx(min(length, clip), rel=1e-3)


def test_a_step_has_the_learning_rate_that_it_is_given() -> None:
    weights = torch.nn.Parameter(torch.zeros(1))
    optimizer = Sgd.of([weights], tiny(TrainingParams, **PLAIN))
    for rate in (0.5, 0.25):
        descend(optimizer, [-weights.sum()], learning_rate=rate)
    assert weights.item() == 0.75


def test_a_gradient_is_of_one_loss_only() -> None:
    weights = torch.nn.Parameter(torch.zeros(2))
    optimizer = Sgd.of([weights], tiny(TrainingParams, **PLAIN))
    for index in (0, 1):
        descend(optimizer, [-weights[index]], learning_rate=1.0)
    assert weights.tolist() == [1.0, 1.0]


def test_operations_that_never_ran_keep_their_bits_under_weight_decay_and_have_momentum() -> None:
    network = tiny_network()
    skip = skip_only(network.blueprint)
    optimizer = Sgd.of(network.parameters(), tiny(TrainingParams, weight_decay=0.5))
    before = snapshot(network)
    for step in range(3):
        images = torch.randn(4, 3, 8, 8, generator=generator(step, "images"))
        descend(optimizer, [network(images, skip).square().sum()], learning_rate=0.1)
    parameters = dict(network.named_parameters())
    idle = {name for name in parameters if "sep_conv" in name or "avg_pool" in name}
    assert idle
    for (name, parameter), momentum in zip(parameters.items(), optimizer.buffers, strict=True):
        assert momentum.shape == parameter.shape
        assert torch.equal(parameter, before[name]) == (name in idle)
        assert bool((momentum == 0).all()) == (name in idle)


def test_operations_that_ran_before_but_not_now_are_moved_by_neither_momentum_nor_decay() -> None:
    network = tiny_network()
    optimizer = Sgd.of(network.parameters(), tiny(TrainingParams, weight_decay=0.5))
    images = torch.randn(4, 3, 8, 8, generator=generator(0, "images"))
    blueprint = network.blueprint
    everything = ((tuple(range(len(blueprint.operations))),) * len(blueprint.edges),) * 2
    for path in (EdgeWeights(active=everything), skip_only(blueprint)):
        before = snapshot(network)
        loss = network(images, path).square().sum()
        descend(optimizer, [loss], learning_rate=0.1)
    for name, parameter in network.named_parameters():
        idle = "sep_conv" in name or "avg_pool" in name
        assert torch.equal(parameter, before[name]) == idle, name


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(0, 99))
def test_a_tally_of_batches_is_that_of_all_images(sizes: list[int], seed: int) -> None:
    logits = torch.randn(sum(sizes), 3, generator=generator(seed, "logits"))
    labels = torch.randint(3, (sum(sizes),), generator=generator(seed, "labels"))
    tally = Tally()
    for batch in zip(logits.split(sizes), labels.split(sizes), strict=True):
        tally.add(*batch)
    loss, accuracy = tally.read()
    assert loss == pytest.approx(float(torch.nn.functional.cross_entropy(logits, labels)), rel=1e-5)
    assert accuracy == pytest.approx(float((logits.argmax(1) == labels).float().mean()))
    assert tally.images == sum(sizes)


@pytest.mark.parametrize("logits", [[math.nan, 0.0], [math.inf, 0.0], [-math.inf, 0.0]])
def test_a_loss_that_is_not_finite_is_never_read(logits: list[float]) -> None:
    tally = Tally()
    tally.add(torch.tensor([logits, [0.0, 0.0]]), torch.tensor([0, 0]))
    with pytest.raises(TrainingFailedError, match=r"^the loss is (nan|inf)$") as failure:
        tally.read()
    assert failure.value.exit_code == 3


@pytest.mark.parametrize("norm", [math.nan, math.inf])
def test_neither_is_a_loss_whose_gradient_is_not_finite(norm: float) -> None:
    tally = Tally()
    tally.add(torch.zeros(1, 2), torch.tensor([0]))
    for one in (1.0, norm, 2.0):
        tally.add_step(torch.tensor(one), 0.1)
    with pytest.raises(TrainingFailedError, match=r"^the gradient is (nan|inf)$"):
        tally.read()


def test_the_norm_that_a_step_returns_is_that_before_clipping() -> None:
    weights = torch.nn.Parameter(torch.zeros(4))
    optimizer = Sgd.of([weights], tiny(TrainingParams, gradient_clip=0.5, **PLAIN))
    losses = [weights.sum(), 2 * weights.sum()]
    norm = descend(optimizer, losses, learning_rate=1.0)
    assert norm.item() == pytest.approx(6.0)
