"""Files made from the models of the params: a page, a schema for editors, and `params.yaml`.

    make params

A test fails if one of them differs from what this writes.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

from pipeline.console.progress import say
from pipeline.harness.files import write_atomically
from pipeline.harness.params_file import PARAMS_FILE
from pipeline.harness.plain_yaml import spelt
from pipeline.params import Params
from pipeline.profiles import read_profile
from pipeline.running.graph import Stage, read_graph, touched
from pipeline.running.params_file import use_params

PAGE = Path("docs/params.md")
SCHEMA = Path("params.schema.json")
PROFILE = "digits"
"""Name of the profile from which the repository's `params.yaml` is made."""
WIDTH = 118
"""Length in characters of the page's longest line, before escaping."""

HEAD = """\
# What params.yaml may say

All keys, from the models in `pipeline/*/params.py` (edit those; `make params` writes this page).
`aso-se check` lists the mistakes in a file, including keys that contradict each other; editors for
YAML use `params.schema.json` to complete and check it. *Reruns* says which stages run again when
a key changes, unless what they read stays the same.
"""


def main() -> None:
    """Rewrite all of them; a copy of a `params.yaml` that was edited by hand is kept."""
    write_atomically(PAGE, page(read_graph(Path())).encode())
    write_atomically(SCHEMA, schema().encode())
    if kept := use_params(Path(), read_profile(Path(), PROFILE)):
        say(f"{kept}: copy of your own {PARAMS_FILE}")


def schema() -> str:
    """Return the JSON schema of `params.yaml` and of profiles, which need not name every key."""
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_without_titles(Params.model_json_schema()),
    }
    for key in document["properties"].values():
        if "$ref" in key:
            del key["default"]  # a section's keys have their own
    return json.dumps(document, indent=2) + "\n"


def page(graph: Sequence[Stage]) -> str:
    """Return a page in Markdown with each key's type, range, default, meaning and stages."""
    document = Params.model_json_schema()
    single = {name: key for name, key in document["properties"].items() if "$ref" not in key}
    parts = [HEAD, *_entries(single, graph)]
    for name, key in document["properties"].items():
        if name not in single:
            section = document["$defs"][key["$ref"].rpartition("/")[2]]
            parts += [f"## {name}\n\n{section['description']}\n"]
            parts += _entries(section["properties"], graph, prefix=f"{name}.")
    return "\n".join(parts)


def _entries(keys: Mapping[str, Any], graph: Sequence[Stage], *, prefix: str = "") -> Iterator[str]:
    """Yield one list item per key, and an empty line."""
    for name, key in keys.items():
        meaning = key["description"].replace("<", r"\<")
        yield from _wrapped(
            "- ", f"`{prefix}{name}` (default `{spelt(key['default'])}`): {meaning}."
        )
        yield from _wrapped("  ", f"Values: {_kind(key)}. Reruns {_reruns(graph, prefix + name)}.")
    yield ""


def _reruns(graph: Sequence[Stage], key: str) -> str:
    """Return which stages run again when a key changes."""
    order = [stage.name for stage in graph]
    names = [name for name in order if name in touched(graph, [key])]
    if len(names) > 1 and names == order[-len(names) :]:
        return f"{names[0]} and all after it"
    return ", ".join(names) or "nothing"


def _wrapped(begin: str, text: str) -> list[str]:
    """Break an item into lines that Markdown does not take for the start of a list."""
    lines = wrap(text, WIDTH, initial_indent=begin, subsequent_indent="  ", break_on_hyphens=False)
    return [lines[0], *(re.sub(r"^(  \d*)([-+*.)] )", r"\1\\\2", line) for line in lines[1:])]


def _kind(key: Mapping[str, Any]) -> str:
    """Return the type of a key and the range of its values."""
    if "anyOf" in key:
        return " or ".join(map(_kind, key["anyOf"]))
    if "enum" in key:
        return ", ".join(f"`{one}`" for one in key["enum"])
    if "const" in key:
        return f"`{key['const']}`"
    if key["type"] == "array":
        return f"list of {_kind(key['items'])}"
    return ", ".join([KINDS[key["type"]], *_limits(key)])


KINDS = {
    "boolean": "`true` or `false`",
    "integer": "whole number",
    "null": "`null`",
    "number": "number",
    "string": "text",
}
LIMITS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
    "multipleOf": "a multiple of",
}


def _limits(key: Mapping[str, Any]) -> Iterator[str]:
    for limit, words in LIMITS.items():
        if limit in key:
            yield f"{words} {key[limit]}".removesuffix(".0")


def _without_titles(value: Any) -> Any:
    """Drop the titles that pydantic derives from names, which editors show anyway."""
    if isinstance(value, dict):
        return {key: _without_titles(one) for key, one in value.items() if key != "title"}
    return [_without_titles(one) for one in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
