"""What is written about the params from their models: a page for people, a schema for editors.

    python -m pipeline.documenting

A test fails if either is not what this writes.
"""

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.harness.files import write_atomically
from pipeline.harness.params_file import read_text
from pipeline.harness.plain_yaml import plain_values
from pipeline.params import Params

PAGE = Path("docs/params.md")
SCHEMA = Path("params.schema.json")
PROFILE = Path("profiles/digits.yaml")
"""Whose values the page shows as the default."""
WIDTH = 118
"""Length in characters of the page's longest line, before escaping."""

HEAD = """\
# What params.yaml may say

`python -m pipeline.documenting` writes this page from the models in `pipeline/*/params.py`; edit
those. In brackets is what a key may be, and its default: the value in `profiles/digits.yaml`.
`aso-se check` says what is wrong with a file, also where two keys contradict each other; editors
that know YAML complete and check it by `params.schema.json`.
"""


def main() -> None:
    """Write both again."""
    write_atomically(PAGE, page().encode())
    write_atomically(SCHEMA, schema().encode())


def schema() -> str:
    """Return the JSON schema of `params.yaml`: all but what two keys say of each other."""
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_without_titles(Params.model_json_schema()),
    }
    return json.dumps(document, indent=2) + "\n"


def page() -> str:
    """Return a page in Markdown with each key's type, range, default and meaning."""
    document = Params.model_json_schema()
    values = plain_values(read_text(PROFILE), str(PROFILE))
    single = {name: key for name, key in document["properties"].items() if "$ref" not in key}
    parts = [HEAD, _list(single, values)]
    for name, key in document["properties"].items():
        if name not in single:
            section = document["$defs"][key["$ref"].rpartition("/")[2]]
            parts += [f"## {name}\n\n{section['description']}\n"]
            parts += [_list(section["properties"], values[name], prefix=f"{name}.")]
    return "\n".join(parts)


def _list(keys: Mapping[str, Any], values: Mapping[str, Any], prefix: str = "") -> str:
    items = (
        f"- `{prefix}{name}` ({_kind(key)}; default {_value(values[name])}): "
        + _escaped(key["description"])
        for name, key in keys.items()
    )
    return "".join(f"{_wrapped(item)}\n" for item in items)


def _wrapped(item: str) -> str:
    """Break an item into lines, none of which Markdown takes for the start of a list."""
    text = textwrap.fill(
        item, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    return re.sub(r"(?<=\n  )(\d*)([-+*.)] )", r"\1\\\2", text)


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


def _value(value: object) -> str:
    shown = value if isinstance(value, str) else json.dumps(value).replace('"', "")
    return f"`{shown}`"


def _escaped(text: str) -> str:
    return text.replace("<", r"\<")


def _without_titles(value: Any) -> Any:
    """Drop the titles that pydantic makes of names: an editor shows the name already."""
    if isinstance(value, dict):
        return {key: _without_titles(one) for key, one in value.items() if key != "title"}
    return [_without_titles(one) for one in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
