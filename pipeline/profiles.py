"""Profiles: the values that differ from the models' defaults, and the `params.yaml` made from them.

That file has the form in which DVC writes YAML, so `dvc exp run -S` changes only one line of it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from itertools import takewhile
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node

from pipeline.harness.errors import ParamsError
from pipeline.harness.params_file import read_text, validate
from pipeline.harness.places import where_to_run
from pipeline.harness.plain_yaml import plain_values
from pipeline.params import Params

PROFILES = Path("profiles")
EDITORS = "# yaml-language-server: $schema=params.schema.json"
HEAD = """\
#
# Everything that changes a result. Change a number, run `dvc repro`: what depends on it runs again.
# docs/params.md says what each key means and may be; `aso-se profile NAME` writes another profile.
"""
COLUMN = 30
"""Column of the comments, counted in characters."""
LONGEST = 119
"""Largest number of characters of a line with a comment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """The comment of a section or a key: lines above it, or words after its value."""

    above: tuple[str, ...]
    behind: str


def read_profile(tree: Path, name: str) -> str:
    """Return the text of the `params.yaml` of a profile.

    Raises:
        ParamsError: there is no profile of that name, or it has mistakes (one line each).
    """
    folder = tree / PROFILES
    if not folder.is_dir():
        raise ParamsError(f"{PROFILES}: no such folder; {where_to_run(tree)}")
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
        raise ParamsError(f"{PROFILES / path.name}: no such profile; there are: {known}")
    return complete(read_text(path), str(PROFILES / path.name))


def complete(text: str, where: str) -> str:
    """Return the text of a `params.yaml` with every key, each with a comment.

    Args:
        text: YAML with the values that differ from the defaults; its comments replace the models'.
        where: origin of the text, with which each message begins.

    Raises:
        ParamsError: the text has mistakes (one line each).
    """
    values = _merged(Params().model_dump(mode="json"), plain_values(text, where))
    validate(Params, values, where, whole=True)
    written = StringIO()
    YAML().dump(values, written)
    lines = _commented(written.getvalue(), {**_remarks_of_models(), **_remarks(text)})
    return "\n".join([EDITORS, *_head(text), HEAD, *lines]) + "\n"


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested values with changes, in the order of `values`."""
    merged = {**values, **changes}
    for key in values.keys() & changes.keys():
        if isinstance(values[key], dict) and isinstance(changes[key], dict):
            merged[key] = _merged(values[key], changes[key])
    return merged


def _commented(text: str, remarks: Mapping[str, Remark]) -> Iterator[str]:
    """Yield the lines of YAML with a comment for each section and key."""
    lines = text.removesuffix("\n").split("\n")
    section = ""
    for line, following in zip(lines, [*lines[1:], "end:"], strict=True):
        key = re.match(r"( {2})?(\w+):", line)
        if not key:
            yield line
            continue
        indent, name = key.groups(default="")
        section = section if indent else name
        if line == f"{section}:":
            yield ""
        remark = remarks[f"{section}.{name}" if indent else name]
        yield from (f"{indent}{one}" for one in remark.above)
        if remark.behind and following.startswith(f"{indent}- "):
            # Above a list: `dvc exp run -S` of a key with a comment behind it breaks the file.
            yield f"{indent}# {remark.behind}"
            yield line
            continue
        goes_on = following.startswith("    ") or not following  # a value of several lines
        yield line if goes_on or not remark.behind else _with_comment(line, remark.behind)


def _with_comment(line: str, comment: str) -> str:
    return f"{line:<{COLUMN - 1}} # {comment}"


def _remarks_of_models() -> dict[str, Remark]:
    """Return the models' comments on each section and key, by `section` or `section.key`."""
    remarks = {}
    for name, field in Params.model_fields.items():
        remarks[name] = Remark(above=(), behind=_clauses(field.description or ""))
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            summary = (section.__doc__ or "").partition("\n")[0]
            remarks[name] = Remark(above=(f"# {summary}",), behind="")
            for key, inner in section.model_fields.items():
                behind = _clauses(inner.description or "")
                remarks[f"{name}.{key}"] = Remark(above=(), behind=behind)
    return remarks


def _clauses(description: str) -> str:
    """Return as many whole clauses of a description as fit on the line after a value."""
    first, *others = description.split("; ")
    for other in others:
        if len(f"{first}; {other}") > LONGEST - COLUMN - len("# "):
            break
        first = f"{first}; {other}"
    return first


def _head(text: str) -> list[str]:
    """Return the comment at the start of a profile, without the line for editors."""
    lines = takewhile(lambda line: line.startswith("#"), text.splitlines())
    return [line for line in lines if line != EDITORS]


def _remarks(text: str) -> dict[str, Remark]:
    """Return a profile's comments on its keys, by `section` or `section.key`."""
    lines = text.split("\n")
    root = YAML(typ="safe", pure=True).compose(text)
    remarks = {}
    for section, values in root.value:
        remarks[section.value] = _remark(section, values, lines)
        if isinstance(values, MappingNode):
            for key, value in values.value:
                remarks[f"{section.value}.{key.value}"] = _remark(key, value, lines)
    return {name: remark for name, remark in remarks.items() if remark.above or remark.behind}


def _remark(key: Node, value: Node, lines: list[str]) -> Remark:
    first = end = key.start_mark.line
    while first and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    above = () if first == 0 else tuple(line.strip() for line in lines[first:end])
    # The comment of an empty value, or of a list on several lines, is not at the value's end.
    last = value.end_mark if value.end_mark.line == end else key.end_mark
    behind = re.fullmatch(r":?\s*#\s*(.*)", lines[end][last.column :])
    return Remark(above=above, behind=behind[1] if behind else "")
