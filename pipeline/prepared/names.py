"""The names of the images' files, where a data set has files: which image is which photo."""

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter

from pipeline.harness.errors import DataError, reason
from pipeline.prepared.facts import AGAIN, FACTS, NAMES, Split, read_bytes, read_facts, sha256

NAMED = TypeAdapter(dict[Split, list[str]], config=ConfigDict(strict=True))


def encode_names(names: Mapping[Split, tuple[str, ...]]) -> bytes:
    """Return the content of `names.json`, one name in a line."""
    return json.dumps(names, indent=1, ensure_ascii=True).encode()


def read_names(folder: Path, split: Split) -> tuple[str, ...] | None:
    """Return the name of each image of a split, relative to `data.path`, in the images' order.

    None if the data set has no files of its own.

    Raises:
        DataError: the names are missing, or not what `prepare` wrote.
    """
    facts, path = read_facts(folder), folder / NAMES
    if NAMES not in facts.digests:
        if path.exists():
            raise DataError(f"{path}: not of this data set, {FACTS} does not name it; {AGAIN}")
        return None
    content = read_bytes(path)
    if sha256(content) != facts.digests[NAMES]:
        raise DataError(f"{path}: damaged (its checksum differs from that in {FACTS}); {AGAIN}")
    try:
        names = NAMED.validate_json(content)[split]
        if len(names) != facts.images(split):
            raise ValueError(f"{len(names)} names of {facts.images(split)} images")  # noqa: TRY301
    except (KeyError, ValueError) as error:
        raise DataError(f"{path}: not the names of the images: {reason(error)}; {AGAIN}") from None
    return tuple(names)
