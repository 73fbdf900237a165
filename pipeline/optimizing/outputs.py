"""The forward pass of training a network to the end, compiled if the machine's settings say so.

N images, C channels, H x W pixels, K classes.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from pipeline.devices.device import COMPILE, compiles
from pipeline.harness.errors import DeviceError
from pipeline.optimizing.auxiliary import AuxiliaryHead, auxiliary_cell

Outputs = Callable[[Any, AuxiliaryHead | None, Tensor, Tensor | None], tuple[Tensor, Tensor | None]]
KEPT_VERSIONS = 64
"""Compiled versions that torch keeps: two sizes of batches of each reference network, and more."""


def outputs(
    network: Any, auxiliary: AuxiliaryHead | None, images: Tensor, kept_paths: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Return the (N, K) logits of a network, and those of its second head if it has one.

    images: (N, C, H, W). kept_paths: factors of drop path, or None.
    """
    if auxiliary is None:
        return network(images, kept_paths=kept_paths), None
    cells = list(network.trunk(images, kept_paths=kept_paths))
    return network.classify(cells[-1]), auxiliary(cells[auxiliary_cell(network)])


def outputs_of(device: torch.device, *, divided: bool) -> Outputs:
    """Return `outputs`, compiled where the machine's settings say so.

    divided: whether a batch is in several parts. These are not compiled: the results of one part in
        a CUDA graph would be overwritten by the next.
    """
    return _compiled(device) if compiles() and not divided else outputs


@cache
def _compiled(device: torch.device) -> Outputs:
    """Return `outputs` compiled by torch, on NVIDIA's devices with CUDA graphs.

    Raises:
        DeviceError: torch cannot compile here.
    """
    torch.compiler.config.recompile_limit = KEPT_VERSIONS
    try:
        torch.compile(torch.neg)(torch.ones(2, device=device))
    except RuntimeError as error:
        why = str(error).splitlines()[0]
        raise DeviceError(f"{COMPILE}=1: torch cannot compile here; unset it: {why}") from None
    return torch.compile(outputs, fullgraph=True, dynamic=False, mode="reduce-overhead")
