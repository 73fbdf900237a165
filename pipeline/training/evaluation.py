"""How good a network is, without touching it.

A supernet has two accuracies: that of sampled paths, which is what training sees, and that of its
most likely genotype, whose BatchNorm statistics are first re-estimated for that path.
"""

from collections.abc import Callable
from itertools import islice

import torch
from torch import nn

from pipeline.data.batches import Images, evaluation_batches
from pipeline.space.genotype import Genotype
from pipeline.space.network import Network, discretize, untracked_statistics
from pipeline.space.operations import BatchNorm
from pipeline.space.relaxation import EdgeWeights
from pipeline.training.device import autocast
from pipeline.training.memory import within_memory
from pipeline.training.params import TrainingParams
from pipeline.training.steps import Tally
from pipeline.training.together import is_mine


@torch.no_grad()
def evaluate(network: nn.Module, images: Images, batch_size: int) -> tuple[float, float]:
    """Return loss (nats) and accuracy of a network in evaluation mode; no supernet."""

    def tallied(size: int) -> Tally:
        tally = Tally()
        with autocast(images.device):
            for number, (batch, labels) in enumerate(evaluation_batches(images, size)):
                if is_mine(number):
                    tally.add(network(batch), labels)
        return tally

    training = network.training
    network.eval()
    tally, _ = within_memory(tallied, batch_size)
    network.train(training)
    return tally.read()


@torch.no_grad()
def evaluate_paths(
    network: Network, images: Images, draw: Callable[[int], EdgeWeights], params: TrainingParams
) -> tuple[float, float]:
    """Return mean loss (nats) and accuracy over sampled paths, each normalised by its own batch.

    draw: number of the draw -> edge weights.
    """

    def tallied(size: int) -> Tally:
        tally = Tally()
        with autocast(images.device), untracked_statistics(network):
            for number, (batch, labels) in enumerate(evaluation_batches(images, size)):
                for path in range(params.sampled_paths if is_mine(number) else 0):
                    tally.add(network(batch, draw(number * params.sampled_paths + path)), labels)
        return tally

    tally, _ = within_memory(tallied, params.evaluation_batch_size)
    return tally.read()


def evaluate_genotype(
    network: Network,
    genotype: Genotype,
    training: Images,
    validation: Images,
    params: TrainingParams,
) -> tuple[float, float]:
    """Return loss (nats) and accuracy of one genotype of a supernet, on its inherited weights."""
    discrete = discretize(network, genotype)
    estimate_statistics(discrete, training, params)
    return evaluate(discrete, validation, params.evaluation_batch_size)


@torch.no_grad()
def estimate_statistics(network: Network, images: Images, params: TrainingParams) -> None:
    """Replace the running BatchNorm statistics by the mean over a few training batches."""
    norms = [module for module in network.modules() if isinstance(module, BatchNorm)]
    training = network.training

    def estimate(size: int) -> None:
        batches = evaluation_batches(images, size)
        with autocast(images.device):
            for number, (batch, _) in enumerate(islice(batches, params.statistics_batches), 1):
                for norm in norms:
                    norm.momentum = 1 / number
                network(batch)

    network.train()
    within_memory(estimate, params.evaluation_batch_size)
    for norm in norms:
        del norm.momentum
    network.train(training)
