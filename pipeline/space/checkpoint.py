"""Checkpoints: a network, its logits and what the next stage needs, in one safetensors file.

The file has one metadata key: JSON with everything that is not a tensor, and a sha256 of the whole
file. There is no pickle, so reading a checkpoint cannot run code from it.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.numpy
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from pipeline.harness.errors import CheckpointError, GenotypeError, reason
from pipeline.harness.files import write_atomically
from pipeline.space import blueprint as blueprints
from pipeline.space import genotype as genotypes
from pipeline.space.blueprint import Blueprint
from pipeline.space.carried import require_carried
from pipeline.space.genotype import Genotype
from pipeline.space.network import Network, rebuild

FORMAT = 1
KEY = "aso-se"
PREFIX = "network."
AGAIN = "'dvc repro' writes it again"
BLANK = "sha256-of-this-file-with-this-text-in-the-place-of-the-digest".ljust(64, "-")
"""Placeholder in the file while its digest is computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What one stage passes to the next.

    network: a supernet, or a discrete network if it has a genotype.
    logits: (A, E, O), or None once the architecture is fixed.
    facts: the rest, as JSON: epoch, temperature, accuracies.
    path: file that it was read from.
    """

    network: Network
    logits: Tensor | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None

    def searched(self) -> Tensor:
        """Return the logits; raise CheckpointError if the architecture is already fixed."""
        if self.logits is None or self.network.genotype is not None:
            raise CheckpointError(f"{self.path}: holds a discrete network, no supernet; {AGAIN}")
        return self.logits

    def decided(self) -> Genotype:
        """Return the genotype; raise CheckpointError if there is none yet."""
        if self.network.genotype is None:
            raise CheckpointError(f"{self.path}: holds a supernet, no discrete network; {AGAIN}")
        return self.network.genotype

    def require_fit(self, stage: str, *, channels: int, classes: int) -> None:
        """Raise CheckpointError unless `stage` wrote it, for so many channels and classes."""
        if self.facts.get("stage") != stage:
            raise CheckpointError(
                f"{self.path}: of stage {self.facts.get('stage')!r}, not of {stage};"
                f" name the folder of {stage}, or {AGAIN}"
            )
        found = self.network.blueprint
        if (found.image_channels, found.classes) != (channels, classes):
            raise CheckpointError(
                f"{self.path}: of a network for {found.image_channels} channels and"
                f" {found.classes} classes, the data set has {channels} and {classes}; {AGAIN}"
            )

    def measured(self, classes: Sequence[str]) -> dict[str, Any]:
        """Return the metrics of derive; raise CheckpointError if they are not of these classes."""
        metrics: dict[str, Any] = self.fact("metrics")
        for name in ("accuracy_by_class", "measures_by_class"):
            if list(metrics[name]) != list(classes):
                raise CheckpointError(
                    f"{self.path}: {name} is not of the data set's classes; {AGAIN}"
                )
        return metrics

    def fact(self, name: str) -> Any:
        """Return the fact `name`; raise CheckpointError if the file does not have it."""
        if name not in self.facts:
            raise CheckpointError(f"{self.path}: has no {name}, another stage wrote it; {AGAIN}")
        return self.facts[name]


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write atomically; the same checkpoint gives the same bytes."""
    network = checkpoint.network
    tensors = {PREFIX + name: tensor for name, tensor in network.state_dict().items()}
    if checkpoint.logits is not None:
        tensors["logits"] = checkpoint.logits.detach()
    facts = {
        "blueprint": network.blueprint.to_dict(),
        "genotype": network.genotype.to_dict() if network.genotype else None,
        "facts": checkpoint.facts,
    }
    write_atomically(path, encode(tensors, facts))


def read_checkpoint(path: Path, device: torch.device | str = "cpu") -> Checkpoint:
    """Read a checkpoint and rebuild its network on `device`; the logits stay on the CPU.

    Raises:
        CheckpointError: the file is missing, damaged, of another format or of another network.
    """
    tensors, facts = decode(path)
    try:
        blueprint = blueprints.from_dict(facts["blueprint"])
        found = facts["genotype"]
        genotype = None if found is None else genotypes.from_dict(found)
        logits = tensors.pop("logits", None)
        weights = {name.removeprefix(PREFIX): tensors[name] for name in tensors}
        network = rebuild(blueprint, genotype, weights)
        if logits is not None:
            require_logits(logits, blueprint)
        rest = dict(facts["facts"])
        require_carried(rest)
        if facts.keys() != {"format", "blueprint", "genotype", "facts"}:
            raise ValueError(f"facts {sorted(facts)}")  # noqa: TRY301
    except (LookupError, TypeError, ValueError, RuntimeError, GenotypeError) as error:
        raise CheckpointError(
            f"{path}: not a checkpoint of this version; {AGAIN}: {reason(error)}"
        ) from None
    return Checkpoint(network=network.to(device), logits=logits, facts=rest, path=path)


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
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}; {AGAIN}") from None
    try:
        length = int.from_bytes(content[:8], "little")
        facts = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][KEY])
        found, digest = facts["format"], facts.pop("sha256").encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CheckpointError(
            f"{path}: not a checkpoint, or damaged; run 'dvc repro' to write it again"
        ) from None
    blanked = content.replace(digest, BLANK.encode(), 1)
    if hashlib.sha256(blanked).hexdigest().encode() != digest:
        raise CheckpointError(
            f"{path}: damaged (its checksum differs); run 'dvc repro' to write it again"
        )
    if found != FORMAT:
        raise CheckpointError(f"{path}: format {found!r}, this version reads {FORMAT}; {AGAIN}")
    try:
        return safetensors.torch.load(content), facts
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a checkpoint: {reason(error)}") from None
