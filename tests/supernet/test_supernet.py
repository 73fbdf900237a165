"""A weight step fits what ran; the row of an epoch holds what is watched."""

import torch

from pipeline.batches.batches import evaluation_batches
from pipeline.batches.randomness import generator
from pipeline.space.relaxation import explore
from pipeline.supernet.supernet import METRICS, Supernet, describe, weight_step
from pipeline.training.optimizers import Sgd
from pipeline.training.params import TrainingParams
from pipeline.training.steps import Tally
from tests.conftest import (
    identical,
    random_images,
    search_images,
    snapshot,
    tiny,
    tiny_network,
)


def small_supernet() -> Supernet:
    network = tiny_network()
    return Supernet(
        network=network,
        optimizer=Sgd.of(network.parameters(), tiny(TrainingParams)),
        logits=torch.randn(2, 5, 4, generator=generator(0, "logits")),
        temperature=1.0,
        micro_batch=8,
    )


def test_a_weight_step_changes_weights_and_leaves_the_architecture_untouched() -> None:
    supernet, tally = small_supernet(), Tally()
    weights, logits = snapshot(supernet.network), supernet.logits.clone()
    batch, labels = next(evaluation_batches(random_images(), 8))
    path = explore(supernet.network.blueprint, probability=1.0, generator=generator(0, "path"))
    weight_step(
        supernet,
        batch,
        labels,
        edge_weights=path,
        learning_rate=0.1,
        gradient_clip=5.0,
        tally=tally,
    )
    assert not identical(snapshot(supernet.network), weights)
    assert torch.equal(supernet.logits, logits)
    assert supernet.logits.grad is None
    assert tally.images == 8


def test_the_row_of_an_epoch_has_all_metrics_and_describing_changes_nothing() -> None:
    supernet, tally = small_supernet(), Tally()
    tally.add(torch.zeros(2, 3), torch.tensor([0, 1]))
    tally.add_step(torch.tensor(0.5), 0.1)
    weights, logits = snapshot(supernet.network), supernet.logits.clone()
    blueprint = supernet.network.blueprint
    row = describe(
        supernet,
        search_images(),
        lambda source: explore(blueprint, probability=1.0, generator=source),
        tiny(TrainingParams),
        tally,
        seed=0,
    )
    assert row.keys() >= set(METRICS) - {"recoveries"}
    assert (row["train_accuracy"], row["gradient_norm"]) == (0.5, 0.5)
    assert row["parameters"] == sum(p.numel() for p in supernet.network.parameters())
    assert (row["cells"], row["channels"]) == (3, 4)
    assert identical(snapshot(supernet.network), weights)
    assert torch.equal(supernet.logits, logits)


def test_equal_weights_are_evaluated_equally_in_every_epoch() -> None:
    """The paths are the same: what differs between two epochs was learnt, not drawn."""
    supernet, rows = small_supernet(), []
    blueprint = supernet.network.blueprint
    for epoch, seed in ((1, 0), (2, 0), (2, 1)):
        tally = Tally()
        tally.add(torch.zeros(2, 3), torch.tensor([0, 1]))
        tally.add_step(torch.tensor(0.5), 0.1)
        supernet.epoch = epoch
        rows.append(
            describe(
                supernet,
                search_images(),
                lambda source: explore(blueprint, probability=1.0, generator=source),
                tiny(TrainingParams),
                tally,
                seed=seed,
            )["validation_loss"]
        )
    assert rows[0] == rows[1]
    assert rows[1] != rows[2]
