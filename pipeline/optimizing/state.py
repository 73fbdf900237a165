"""The state of training a network to the end."""

from copy import deepcopy
from dataclasses import dataclass
from itertools import chain
from typing import Generic, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pipeline.devices.memory import at_a_time
from pipeline.optimizing.auxiliary import AuxiliaryHead, auxiliary_head
from pipeline.optimizing.params import OptimizeParams
from pipeline.space.network import Network
from pipeline.training.context import Context
from pipeline.training.optimizers import Sgd, copy
from pipeline.training.resume import Snapshot

N = TypeVar("N", bound=nn.Module)


@dataclass(slots=True, kw_only=True)
class OptimizeState(Generic[N]):
    """The complete state of training a network to the end.

    averaged: EMA of the network, or None. micro_batch: images at a time, fewer than a batch once
    memory ran out. margins: (N,) sum over the epochs of each training image's margin. best: result
    of the best epoch so far, None if all that counts is the last.
    """

    network: N
    auxiliary: AuxiliaryHead | None
    averaged: AveragedModel | None
    optimizer: Sgd
    micro_batch: int
    margins: Tensor
    epoch: int
    first_epoch: int
    best: N | None = None

    @property
    def result(self) -> N:
        """The averaged network if there is one, else the network."""
        return self.network if self.averaged is None else cast("N", self.averaged.module)

    @property
    def delivered(self) -> N:
        """The result of the best epoch if that is kept, else of the last."""
        return self.result if self.best is None else self.best

    def keep(self) -> None:
        """Keep the result as that of the best epoch."""
        self.best = deepcopy(self.result)

    def snapshot(self) -> Snapshot:
        """Return the state as JSON values and tensors, which are not copied."""
        return {
            "network": self.network.state_dict(),
            "auxiliary": self.auxiliary and self.auxiliary.state_dict(),
            "averaged": self.averaged and self.averaged.state_dict(),
            "momentum": self.optimizer.buffers,
            "best": self.best and self.best.state_dict(),
            "micro_batch": self.micro_batch,
            "margins": self.margins,
            "epoch": self.epoch,
        }

    def load(self, saved: Snapshot) -> None:
        """Restore a snapshot, made with the same params, into a fresh state."""
        if saved["best"]:
            self.keep()
        for name in ("network", "auxiliary", "averaged", "best"):
            if saved[name]:
                getattr(self, name).load_state_dict(saved[name])
        self.optimizer.load(saved["momentum"])
        self.micro_batch = at_a_time(saved["micro_batch"], self.micro_batch)
        copy(saved["margins"], self.margins)
        self.epoch = saved["epoch"]


def begin(network: N, params: OptimizeParams, context: Context, *, epoch: int) -> OptimizeState[N]:
    """Return the first state of the training of a network.

    A network without cells has no second head. epoch: number of epochs done before.
    """
    auxiliary = None
    if params.auxiliary_weight and isinstance(network, Network):
        auxiliary = auxiliary_head(network, context.seed)
    averaged = None
    if params.ema_decay:
        average = get_ema_multi_avg_fn(params.ema_decay)  # type: ignore[no-untyped-call]
        averaged = AveragedModel(network, multi_avg_fn=average, use_buffers=True)
    return OptimizeState(
        network=network,
        auxiliary=auxiliary,
        averaged=averaged,
        optimizer=Sgd.begin(
            chain(network.parameters(), auxiliary.parameters() if auxiliary else ()),
            momentum=context.training.momentum,
            weight_decay=params.weight_decay,
            gradient_clip=context.training.gradient_clip,
            nesterov=True,
            decays_all=False,
        ),
        micro_batch=context.training.batch_size,
        margins=torch.zeros(len(context.images), device=context.images.device),
        epoch=epoch,
        first_epoch=epoch,
    )
