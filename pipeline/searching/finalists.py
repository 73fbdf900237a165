"""The networks that compete at the end of search, and the state of their competition."""

from dataclasses import dataclass
from typing import Any

from pipeline.devices.memory import at_a_time
from pipeline.halving.bracket import Result
from pipeline.space import genotype as genotypes
from pipeline.space.genotype import Genotype
from pipeline.space.network import Network, discretize, rebuild
from pipeline.supernet.supernet import SupernetContext
from pipeline.training.optimizers import Sgd
from pipeline.training.resume import Snapshot


@dataclass(slots=True, kw_only=True)
class Finalist:
    """A network that competes. number: its place by the supernet's loss, from 0.

    accuracy: on the held-out images after its newest epoch.
    """

    number: int
    genotype: Genotype
    network: Network
    optimizer: Sgd
    micro_batch: int
    accuracy: float = 0.0

    @property
    def result(self) -> Result:
        """Accuracy and size."""
        size = sum(parameter.numel() for parameter in self.network.parameters())
        return Result(number=self.number, accuracy=self.accuracy, parameters=size)


@dataclass(slots=True, kw_only=True)
class FinalsState:
    """The networks that are left, in the order in which they train. epoch: rows so far."""

    finalists: list[Finalist]
    epoch: int = 0


def enter(number: int, genotype: Genotype, supernet: Network, context: SupernetContext) -> Finalist:
    """Return a finalist with the supernet's weights."""
    network = discretize(supernet, genotype)
    return Finalist(
        number=number,
        genotype=genotype,
        network=network.train(),
        optimizer=Sgd.of(network.parameters(), context.training),
        micro_batch=context.training.batch_size,
    )


def snapshot(state: FinalsState) -> Snapshot:
    """Return the state as JSON values and tensors, which are not copied."""
    return {
        "epoch": state.epoch,
        "finalists": [
            {
                "number": one.number,
                "genotype": one.genotype.to_dict(),
                "network": one.network.state_dict(),
                "momentum": one.optimizer.buffers,
                "micro_batch": one.micro_batch,
                "accuracy": one.accuracy,
            }
            for one in state.finalists
        ],
    }


def resumed(saved: Snapshot, supernet: Network, context: SupernetContext) -> FinalsState:
    """Return the state of a snapshot."""
    finalists = [_restored(one, supernet, context) for one in saved["finalists"]]
    return FinalsState(finalists=finalists, epoch=saved["epoch"])


def _restored(saved: dict[str, Any], supernet: Network, context: SupernetContext) -> Finalist:
    genotype, training = genotypes.from_dict(saved["genotype"]), context.training
    network = rebuild(supernet.blueprint, genotype, saved["network"]).to(context.images.device)
    optimizer = Sgd.of(network.parameters(), training)
    optimizer.load(saved["momentum"])
    return Finalist(
        number=saved["number"],
        genotype=genotype,
        network=network,
        optimizer=optimizer,
        micro_batch=at_a_time(saved["micro_batch"], training.batch_size),
        accuracy=saved["accuracy"],
    )
