"""A weight step trains only what ran; the row of an epoch holds all metrics."""

from functools import partial

import pytest
import torch

from pipeline.batches.batches import evaluation_batches
from pipeline.batches.randomness import generator
from pipeline.harness.metrics import required
from pipeline.harness.records import Row
from pipeline.space.relaxation import explore
from pipeline.supernet.records import describe
from pipeline.supernet.supernet import Supernet, along
from pipeline.training.context import Step
from pipeline.training.steps import Tally, weight_step
from tests.conftest import context, identical, random_images, snapshot
from tests.phases import warming


@pytest.fixture
def supernet() -> Supernet:
    return warming().begin()


def described(supernet: Supernet, seed: int = 0) -> Row:
    """Describe an epoch of one step, in which one of two images was right."""
    tally = Tally()
    tally.add(torch.zeros(2, 3), torch.tensor([0, 1]))
    tally.add_step(torch.tensor(0.5), 0.1)
    blueprint = supernet.network.blueprint
    return describe(
        context(seed=seed),
        supernet,
        lambda source: explore(blueprint, probability=1.0, generator=source),
        tally,
    )


def test_a_weight_step_changes_weights_and_leaves_the_architecture_untouched(
    supernet: Supernet,
) -> None:
    tally = Tally()
    weights, logits = snapshot(supernet.network), supernet.logits.clone()
    step = Step(number=0, batch=next(evaluation_batches(random_images(), 8)), learning_rate=0.1)
    path = explore(supernet.network.blueprint, probability=1.0, generator=generator(0, "path"))
    weight_step(supernet, step, partial(along, supernet.network, path), tally)
    assert not identical(snapshot(supernet.network), weights)
    assert torch.equal(supernet.logits, logits)
    assert supernet.logits.grad is None
    assert (tally.images, tally.steps, tally.learning_rate) == (8, 1, 0.1)


def test_the_row_of_an_epoch_has_all_columns_and_describing_changes_nothing(
    supernet: Supernet,
) -> None:
    weights, logits = snapshot(supernet.network), supernet.logits.clone()
    row = described(supernet)
    of_the_loop = {"recoveries", "verdict", "health"}
    assert row.keys() >= set(required("supernet")) - of_the_loop
    assert (row["train_accuracy"], row["gradient_norm"]) == (0.5, 0.5)
    assert row["parameters"] == sum(p.numel() for p in supernet.network.parameters())
    assert (row["cells"], row["channels"]) == (3, 4)
    assert identical(snapshot(supernet.network), weights)
    assert torch.equal(supernet.logits, logits)


def test_equal_weights_are_evaluated_equally_in_every_epoch(supernet: Supernet) -> None:
    """The paths are the same in every epoch, so differences were learnt, not drawn."""
    losses = []
    for epoch, seed in ((1, 0), (2, 0), (2, 1)):
        supernet.epoch = epoch
        losses.append(described(supernet, seed)["validation_loss"])
    assert losses[0] == losses[1]
    assert losses[1] != losses[2]
