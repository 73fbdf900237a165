"""What a person changed since a stage ran, in words, from what `dvc status` says."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Changes = Mapping[str, Sequence[Any]]
"""Output of `dvc status --json`: stage -> [{"changed deps": {path: how}}, "changed command"]."""


def changed(
    recorded: Mapping[str, Any], found: Sequence[Any], changes: Changes, params: Mapping[str, Any]
) -> Iterator[str]:
    """Yield the changes that a person made; outputs that are merely missing are left out."""
    outputs = {path for one in changes.values() for path in parts(one, "changed outs")}
    for path, how in parts(found, "changed deps").items():
        if isinstance(how, dict):
            before = recorded.get("params", {}).get(path, {})
            yield from _edits({name: before.get(name) for name in how}, params)
        elif path not in outputs:
            yield f"{path}: {how}"
    for path, how in parts(found, "changed outs").items():
        if how not in {"deleted", "not in cache"}:
            yield f"{path}: {how}"
    yield from (entry for entry in found if isinstance(entry, str))


def parts(found: Sequence[Any], kind: str) -> dict[str, Any]:
    """Return what DVC reports of one kind, such as 'changed outs': path -> how."""
    return {
        path: how
        for entry in found
        if isinstance(entry, dict)
        for path, how in entry.get(kind, {}).items()
    }


def _edits(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each key whose value changed.

    before: values by the names that a stage tracks: sections, or keys such as 'network.cells'.
    now: all params.
    """
    every, old = flat(now), flat(before)
    new = {
        key: value
        for key, value in every.items()
        if any(key == name or key.startswith(f"{name}.") for name in before)
    }
    for key in {**old, **new}:
        if key not in new:
            yield f"{key}: removed"
        elif key not in old:
            yield f"{key}: new, {new[key]}"
        elif old[key] != new[key]:
            yield f"{key}: {new[key]}, was {old[key]}"


def flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of nested sections by their whole keys, such as 'search.epochs'."""
    found: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found
