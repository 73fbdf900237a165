"""Evaluating a network measures it and does not change it."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from pipeline.batches.batches import evaluation_batches
from pipeline.batches.images import Images
from pipeline.batches.randomness import generator
from pipeline.deciding.decision import decide
from pipeline.space.batch_norm import BatchNorm
from pipeline.space.network import Network, discretize
from pipeline.space.relaxation import EdgeWeights, explore, skip_only
from pipeline.supernet.evaluation import evaluate_genotype, evaluate_paths
from pipeline.training.evaluation import estimate_statistics, evaluate
from pipeline.training.params import TrainingParams
from tests.conftest import (
    identical,
    random_images,
    scramble,
    snapshot,
    tiny,
    tiny_blueprint,
    tiny_network,
)

GENOTYPE = decide(torch.zeros(2, 5, 4), tiny_blueprint())


def discrete() -> Network:
    return discretize(scramble(tiny_network()), GENOTYPE)


def a_path(number: int) -> EdgeWeights:
    return explore(tiny_blueprint(), probability=1.0, generator=generator(0, "path", number))


EVALUATIONS: dict[str, tuple[Callable[[], Network], Callable[[Network, Images], object]]] = {
    "discrete": (discrete, lambda network, images: evaluate(network, images, 8)),
    "paths": (
        lambda: scramble(tiny_network()),
        lambda network, images: evaluate_paths(network, images, a_path, tiny(TrainingParams)),
    ),
    "genotype": (
        lambda: scramble(tiny_network()),
        lambda network, images: evaluate_genotype(
            network, GENOTYPE, images, images, tiny(TrainingParams)
        ),
    ),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", EVALUATIONS)
def test_evaluation_leaves_weights_statistics_and_mode_as_they_were(
    kind: str, training: bool
) -> None:
    make, measure = EVALUATIONS[kind]
    network = make().train(training)
    before, modes = snapshot(network), [module.training for module in network.modules()]
    measure(network, random_images())
    assert identical(snapshot(network), before)
    assert [module.training for module in network.modules()] == modes
    assert all(parameter.grad is None for parameter in network.parameters())
    norm = BatchNorm(1)
    norm(torch.ones(2, 1, 1, 1))
    assert norm.running_mean.item() == pytest.approx(norm.momentum)


@torch.no_grad()
def test_loss_and_accuracy_do_not_depend_on_the_batch_size() -> None:
    network, images = discrete(), random_images(17)
    logits = torch.cat([network.eval()(batch) for batch, _ in evaluation_batches(images, 17)])
    loss = float(F.cross_entropy(logits, images.labels))
    accuracy = float((logits.argmax(1) == images.labels).float().mean())
    for batch_size in (4, 5, 17, 100):
        assert evaluate(network, images, batch_size) == pytest.approx((loss, accuracy))


def test_paths_are_numbered_so_that_no_draw_comes_twice() -> None:
    numbers = []

    def draw(number: int) -> EdgeWeights:
        numbers.append(number)
        return skip_only(tiny_blueprint())

    params = tiny(TrainingParams, evaluation_batch_size=8, sampled_paths=3)
    evaluate_paths(tiny_network(), random_images(24), draw, params)
    assert numbers == list(range(9))


@torch.no_grad()
def test_re_estimated_statistics_are_the_mean_over_the_batches() -> None:
    network, images = discrete(), random_images(40)
    params = tiny(TrainingParams, evaluation_batch_size=8, statistics_batches=3)
    estimate_statistics(network, images, params)
    norm = network.stem[1]
    batches = list(evaluation_batches(images, 8))[:3]
    features = [network.stem[0](batch) for batch, _ in batches]
    means = torch.stack([feature.mean((0, 2, 3)) for feature in features])
    variances = torch.stack([feature.var((0, 2, 3)) for feature in features])
    torch.testing.assert_close(norm.running_mean, means.mean(0))
    torch.testing.assert_close(norm.running_var, variances.mean(0))


def test_re_estimating_statistics_changes_them_and_nothing_else() -> None:
    network = discrete()
    before = snapshot(network)
    estimate_statistics(network, random_images(), tiny(TrainingParams))
    for name, tensor in snapshot(network).items():
        assert torch.equal(tensor, before[name]) == ("running" not in name)
    assert all(norm.momentum == 0.1 for norm in network.modules() if isinstance(norm, BatchNorm))


def test_a_genotype_is_evaluated_with_statistics_of_its_own_path() -> None:
    supernet, images, params = scramble(tiny_network()), random_images(), tiny(TrainingParams)
    own = discretize(supernet, GENOTYPE)
    estimate_statistics(own, images, params)
    expected = evaluate(own, images, params.evaluation_batch_size)
    assert evaluate_genotype(supernet, GENOTYPE, images, images, params) == expected
