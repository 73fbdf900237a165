"""Checkpoints: a network, its logits and what the next stage needs, in one safetensors file.

`description.py` has what stands beside the tensors. There is no pickle, so reading a checkpoint
cannot run code from it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.numpy
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from pipeline.harness.errors import CheckpointError, reason
from pipeline.harness.files import write_atomically
from pipeline.space.blueprint import Blueprint
from pipeline.space.description import (
    AGAIN,
    BLANK,
    FORMAT,
    KEY,
    Description,
    from_dict,
    this_version,
    verified,
)
from pipeline.space.network import Network, rebuild

PREFIX = "network."


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint(Description):
    """What one stage passes to the next.

    network: a supernet, or a discrete network if it has a genotype.
    logits: (A, E, O), or None once the architecture is fixed.
    """

    network: Network
    logits: Tensor | None = None

    @classmethod
    def of(
        cls,
        network: Network,
        *,
        logits: Tensor | None = None,
        facts: dict[str, Any] | None = None,
    ) -> "Checkpoint":
        """Return the checkpoint of a network."""
        return cls(
            blueprint=network.blueprint,
            genotype=network.genotype,
            facts=facts or {},
            network=network,
            logits=logits,
        )

    def searched(self) -> Tensor:
        """Return the logits; raise CheckpointError if the architecture is already fixed."""
        if self.logits is None or self.genotype is not None:
            raise CheckpointError(f"{self.path}: holds a discrete network, no supernet; {AGAIN}")
        return self.logits


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write atomically; the same checkpoint gives the same bytes."""
    weights = checkpoint.network.state_dict()
    tensors = {PREFIX + name: tensor for name, tensor in weights.items()}
    if checkpoint.logits is not None:
        tensors["logits"] = checkpoint.logits.detach()
    write_atomically(path, encode(tensors, checkpoint.to_dict()))


def read_checkpoint(path: Path, device: torch.device | str = "cpu") -> Checkpoint:
    """Read a checkpoint and rebuild its network on `device`; the logits stay on the CPU.

    Raises:
        CheckpointError: the file is missing, damaged, of another format or of another network.
    """
    tensors, document = decode(path)
    with this_version(path):
        found = from_dict(document, path)
        logits = tensors.pop("logits", None)
        weights = {name.removeprefix(PREFIX): tensors[name] for name in tensors}
        network = rebuild(found.blueprint, found.genotype, weights)
        if logits is not None:
            require_logits(logits, found.blueprint)
    return Checkpoint(
        blueprint=found.blueprint,
        genotype=found.genotype,
        facts=found.facts,
        path=path,
        network=network.to(device),
        logits=logits,
    )


def require_logits(logits: Tensor, blueprint: Blueprint) -> None:
    """Raise ValueError unless logits are (A, E, O) float32, as a blueprint's are."""
    shape = (blueprint.architectures, len(blueprint.edges), len(blueprint.operations))
    if (logits.shape, logits.dtype) != (shape, torch.float32):
        raise ValueError(f"logits are {tuple(logits.shape)}, not {shape}")


def encode(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> bytes:
    """Return the bytes of a safetensors file that contains the facts and its own digest."""
    document = {"format": FORMAT, "sha256": BLANK, **facts}
    # The same bytes as from `safetensors.torch`, in half the time.
    content: bytes = safetensors.numpy.save(
        {name: tensor.numpy() for name, tensor in _on_host(tensors).items()},
        {KEY: json.dumps(document, ensure_ascii=True)},
    )
    digest = hashlib.sha256(content).hexdigest()
    return content.replace(BLANK.encode(), digest.encode(), 1)


def _on_host(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return contiguous tensors on the CPU; those of a device are copied together, by dtype."""
    found = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    away: dict[torch.dtype, list[str]] = {}
    for name, tensor in found.items():
        if tensor.device.type != "cpu":
            away.setdefault(tensor.dtype, []).append(name)
    for names in away.values():  # hundreds of small tensors: one copy waits once
        flat = torch.cat([found[name].reshape(-1) for name in names]).cpu()
        parts = torch.split(flat, [found[name].numel() for name in names])
        found |= {
            name: part.view(found[name].shape) for name, part in zip(names, parts, strict=True)
        }
    return found


def decode(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the facts of a file that `encode` made.

    Raises:
        CheckpointError: the file is missing, unreadable, of another format, or has a changed bit.
    """
    content, document = verified(path)
    try:
        return safetensors.torch.load(content), document
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a checkpoint: {reason(error)}") from None
