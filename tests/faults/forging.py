"""Documents that no stage wrote: one change to a JSON document, drawn by a seed."""

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

STRANGE: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 3, 2**70, -0.5, 0.5, 1e308, float("nan"), float("inf"), "", "a",
    "\x1b[31mred\nline\u202e", "a" * 3000, [], {}, [[]], [None], {"a": 1}, {"tensor": "none"},
)  # fmt: skip
"""Values that are of the wrong type or of the wrong size in most places."""

Path_ = tuple[str | int, ...]


def places(document: Any, path: Path_ = ()) -> Iterator[Path_]:
    """Yield the path of each value in a document, but of the first few of a long list only."""
    yield path
    if isinstance(document, dict):
        for key, value in document.items():
            yield from places(value, (*path, key))
    elif isinstance(document, list):
        for number, value in enumerate(document[:8]):
            yield from places(value, (*path, number))


def forged(document: Any, seed: object) -> tuple[Path_, str, Any]:
    """Return where a document was changed, how, and the changed copy."""
    draw = random.Random(str(seed))  # noqa: S311 - damage, no secret
    while True:
        changed = copy.deepcopy(document)
        path = draw.choice(list(places(changed))[1:])
        parent = changed
        for step in path[:-1]:
            parent = parent[step]
        how = _change(parent, path[-1], draw)
        if json.dumps(changed) != json.dumps(document):
            return path, how, changed


def _change(parent: Any, key: Any, draw: random.Random) -> str:
    match draw.randrange(5):
        case 0:
            del parent[key]
            return "removed"
        case 1 if isinstance(parent, list):
            parent.insert(key, copy.deepcopy(parent[key]))
            return "doubled"
        case 1:
            parent[draw.choice(("other", "\x1b[2J", ""))] = parent.pop(key)
            return "renamed"
        case 2 if isinstance(parent[key], int | float):
            parent[key] = draw.choice((-parent[key], str(parent[key]), parent[key] * 10**6))
            return f"now {parent[key]!r}"
        case _:
            parent[key] = draw.choice(STRANGE)
            return f"now {parent[key]!r}"[:60]
