"""Evaluation of a supernet, without changing it.

It has two accuracies: that of sampled paths, as in training, and that of its most likely genotype,
whose BatchNorm statistics are first re-estimated.
"""

from collections.abc import Callable

import torch

from pipeline.batches.batches import evaluation_batches
from pipeline.batches.images import Images
from pipeline.devices.device import autocast
from pipeline.devices.memory import within_memory
from pipeline.devices.together import is_mine
from pipeline.space.batch_norm import untracked_statistics
from pipeline.space.genotype import Genotype
from pipeline.space.network import Network, discretize
from pipeline.space.relaxation import EdgeWeights
from pipeline.training.evaluation import estimate_statistics, evaluate
from pipeline.training.params import TrainingParams
from pipeline.training.steps import Tally


@torch.no_grad()
def evaluate_paths(
    network: Network, images: Images, draw: Callable[[int], EdgeWeights], params: TrainingParams
) -> tuple[float, float]:
    """Return mean loss (nats) and accuracy over sampled paths, each normalised by its own batch.

    draw: function from the number of a draw to edge weights.
    """

    def tallied(size: int) -> Tally:
        tally = Tally()
        with autocast(images.device), untracked_statistics():
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
