"""What a checkpoint says of its network, read without torch: all but the tensors.

The file is a safetensors file with one metadata key: JSON with everything that is not a tensor, and
a sha256 of the whole file.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.harness.errors import CheckpointError, GenotypeError, reason
from pipeline.space import blueprint as blueprints
from pipeline.space import genotype as genotypes
from pipeline.space.blueprint import Blueprint
from pipeline.space.carried import require_carried
from pipeline.space.genotype import Genotype

FORMAT = 1
KEY = "aso-se"
AGAIN = "'dvc repro' writes it again"
BLANK = "sha256-of-this-file-with-this-text-in-the-place-of-the-digest".ljust(64, "-")
"""Placeholder in the file while its digest is computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A checkpoint without its tensors.

    genotype: None for a supernet. facts: the rest, as JSON: epoch, temperature, accuracies. path:
    file that it was read from.
    """

    blueprint: Blueprint
    genotype: Genotype | None
    facts: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None

    def decided(self) -> Genotype:
        """Return the genotype; raise CheckpointError if there is none yet."""
        if self.genotype is None:
            raise CheckpointError(f"{self.path}: holds a supernet, no discrete network; {AGAIN}")
        return self.genotype

    def require_fit(self, stage: str, *, channels: int, classes: int) -> None:
        """Raise CheckpointError unless `stage` wrote it, for so many channels and classes."""
        if self.facts.get("stage") != stage:
            raise CheckpointError(
                f"{self.path}: of stage {self.facts.get('stage')!r}, not of {stage};"
                f" name the folder of {stage}, or {AGAIN}"
            )
        found = self.blueprint
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

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` reads."""
        return {
            "blueprint": self.blueprint.to_dict(),
            "genotype": self.genotype.to_dict() if self.genotype else None,
            "facts": self.facts,
        }


def read_description(path: Path) -> Description:
    """Read all of a checkpoint but its tensors.

    Raises:
        CheckpointError: the file is missing, damaged, of another format or no checkpoint.
    """
    _, document = verified(path)
    with this_version(path):
        return from_dict(document, path)


def from_dict(document: Mapping[str, Any], path: Path) -> Description:
    """Return what a document says.

    Raises:
        LookupError, TypeError, ValueError, GenotypeError: it is none of a checkpoint.
    """
    blueprint, found = blueprints.from_dict(document["blueprint"]), document["genotype"]
    genotype = None if found is None else genotypes.from_dict(found)
    if genotype is not None:
        genotypes.check_fit(genotype, blueprint)
    facts = dict(document["facts"])
    require_carried(facts)
    if document.keys() != {"format", "blueprint", "genotype", "facts"}:
        raise ValueError(f"facts {sorted(document)}")
    return Description(blueprint=blueprint, genotype=genotype, facts=facts, path=path)


@contextmanager
def this_version(path: Path) -> Iterator[None]:
    """Turn what a file of another kind causes into a CheckpointError."""
    try:
        yield
    except (LookupError, TypeError, ValueError, RuntimeError, GenotypeError) as error:
        raise CheckpointError(
            f"{path}: not a checkpoint of this version; {AGAIN}: {reason(error)}"
        ) from None


def verified(path: Path) -> tuple[bytes, dict[str, Any]]:
    """Return a file's bytes, which have the digest in it, and its document without the digest.

    Raises:
        CheckpointError: the file is missing, unreadable, of another format, or has a changed bit.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}; {AGAIN}") from None
    try:
        length = int.from_bytes(content[:8], "little")
        document = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][KEY])
        found, digest = document["format"], document.pop("sha256").encode()
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
    return content, document
