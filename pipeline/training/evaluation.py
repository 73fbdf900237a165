"""Evaluation of a network, and estimation of its BatchNorm statistics."""

from itertools import islice

import torch
from torch import nn

from pipeline.batches.batches import evaluation_batches
from pipeline.batches.images import Images
from pipeline.devices.device import autocast
from pipeline.devices.memory import within_memory
from pipeline.devices.together import average, is_mine
from pipeline.space.batch_norm import BatchNorm
from pipeline.space.network import Network
from pipeline.training.params import StatisticsParams
from pipeline.training.steps import Tally


@torch.no_grad()
def evaluate(network: nn.Module, images: Images, batch_size: int) -> tuple[float, float]:
    """Return loss (nats) and accuracy of a network, not a supernet, in evaluation mode."""

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
def estimate_statistics(network: Network, images: Images, params: StatisticsParams) -> None:
    """Replace the running BatchNorm statistics by the mean over a few training batches."""
    norms = [module for module in network.modules() if isinstance(module, BatchNorm)]
    training = network.training

    def estimate(size: int) -> None:
        batches = islice(evaluation_batches(images, size), params.statistics_batches)
        number = mine = 0
        with autocast(images.device):
            for number, (batch, _) in enumerate(batches, 1):
                if is_mine(number):
                    mine += 1
                    for norm in norms:
                        norm.momentum = 1 / mine
                    network(batch)
        average([one for norm in norms for one in norm.buffers()], mine / number)

    network.train()
    within_memory(estimate, params.evaluation_batch_size)
    for norm in norms:
        norm.momentum = BatchNorm.momentum
    network.train(training)
