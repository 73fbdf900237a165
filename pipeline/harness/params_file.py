"""Read `params.yaml` once, check all of it, and report each mistake on its own line."""

import difflib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipeline.harness.errors import ParamsError
from pipeline.harness.places import clone_around, where_to_run
from pipeline.harness.plain_yaml import plain_values, short, spelt
from pipeline.harness.section import Section

PARAMS_FILE = Path("params.yaml")
P = TypeVar("P", bound=Section)
OURS = "Value error, "
"""Prefix that pydantic adds to the message of a validator's error."""
WORDS = re.compile(r"^(Input should be|String should have) ")
"""Beginning of pydantic's messages, in the place of which ours say 'expected'."""
MISTAKES = 20
"""Largest number of mistakes that are shown at once."""


def read_params(model: type[P], path: Path = PARAMS_FILE, *, whole: bool = False) -> P:
    """Read the sections that `model` names from a file; see `parse_params`."""
    return parse_params(model, read_text(path), str(path), whole=whole)


def read_text(path: Path) -> str:
    """Return the text of a params file; raise ParamsError if it is missing or not text."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ParamsError(f"{path}: no such file; {_without(path)}") from None
    except UnicodeDecodeError as error:
        line = 1 + error.object.count(b"\n", 0, error.start)
        raise ParamsError(f"{path}: line {line}: cannot be read: not UTF-8") from None
    except OSError as error:
        raise ParamsError(f"{path}: cannot be read: {error.strerror}") from None


def _without(path: Path) -> str:
    """Return what to do where there is no params file."""
    if path.name == PARAMS_FILE.name and clone_around(path.parent):
        return where_to_run(path.parent)
    return f"'aso-se profile digits' writes {PARAMS_FILE}"


def parse_params(model: type[P], text: str, where: str, *, whole: bool = False) -> P:
    """Read the sections and keys that `model` names.

    Args:
        model: a section whose fields are the sections of the file, or parts of them.
        text: YAML.
        where: origin of the text, with which each message begins.
        whole: whether to refuse sections and keys that `model` does not name.

    Raises:
        ParamsError: one line per mistake: file, key, what was expected, what came.
    """
    return validate(model, plain_values(text, where), where, whole=whole)


def validate(model: type[P], values: dict[str, Any], where: str, *, whole: bool = False) -> P:
    """Make params from plain values; arguments and errors are those of `parse_params`.

    A model's default never fills a gap: every value that a stage reads is in the file, where DVC
    compares it.
    """
    if not whole:
        values = _part(values, model)
    missing = dict(_missing(values, model))
    errors: list[ErrorDetails] = []
    try:
        # Through JSON, pydantic's strict mode takes a list for a tuple and 1 for 1.0, but neither
        # `true` nor "1".
        params = model.model_validate_json(json.dumps(values))
    except ValidationError as error:
        errors = error.errors()
        if errors[0]["type"] == "json_invalid":
            reason = errors[0]["ctx"]["error"]
            raise ParamsError(f"{where}: not plain values: {reason}") from None
    else:
        if not missing:
            return params
    lines = _mistakes(errors, missing, model)
    if len(lines) > MISTAKES:
        lines[MISTAKES:] = [f"and {len(lines) - MISTAKES} more"]
    raise ParamsError("\n".join(f"{where}: {line}" for line in lines))


def _part(document: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """Return the sections and keys that a model names; `aso-se check` refuses the others."""
    named = {key: value for key, value in document.items() if key in model.model_fields}
    for key, value in named.items():
        section = _section(model.model_fields[key].annotation)
        if section and isinstance(value, dict):
            named[key] = _part(value, section)
    return named


def _missing(
    values: dict[str, Any], model: type[BaseModel], place: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the path of each key that a model names and `values` lack, with advice."""
    for name, field in model.model_fields.items():
        section = _section(field.annotation)
        if name not in values:
            advice = ""
            if section:
                advice = f"; add the section with its keys: {', '.join(section.model_fields)}"
            elif not field.is_required():
                advice = f"; add '{name}: {spelt(field.default)}'"
            yield (*place, name), f"missing{advice}"
        elif section and isinstance(values[name], dict):
            yield from _missing(values[name], section, (*place, name))


def _mistakes(
    errors: list[ErrorDetails], missing: dict[tuple[str, ...], str], model: type[BaseModel]
) -> list[str]:
    """Return one line per wrong key; a misspelt key is not also reported as missing."""
    by_key: dict[tuple[str, ...], list[ErrorDetails]] = {}
    for detail in errors:
        # A contradiction with the default of a missing key does not count.
        contradiction = detail["type"] == "value_error" and not _is_of_value(detail)
        if not (missing and (contradiction or detail["type"] == "missing")):
            by_key.setdefault(tuple(_path(detail, model)), []).append(detail)
    lines, meant = [], set()
    for path, details in by_key.items():
        key = ".".join(map(_plain, path))
        if details[0]["type"] == "extra_forbidden":
            *parents, name = path
            known = _fields(parents, model)
            close = difflib.get_close_matches(name, known, n=1) or _elsewhere(path, model)
            meanings = " or ".join(f"'{one}'" for one in close)
            hint = f"did you mean {meanings}?" if close else f"known here: {', '.join(known)}"
            lines.append(f"{key}: unknown key; {hint}")
            meant |= {(*parents, *close[:1])}
        else:
            lines.append(_explain(key, details))
    gaps = [f"{'.'.join(path)}: {what}" for path, what in missing.items() if path not in meant]
    return lines + gaps


def _elsewhere(path: tuple[str, ...], model: type[BaseModel]) -> list[str]:
    """Return the keys inside sections that a name at the top level could mean."""
    return [
        f"{section}.{path[0]}"
        for section, field in model.model_fields.items()
        if len(path) == 1
        and (known := _section(field.annotation))
        and path[0] in known.model_fields
    ]


def _explain(key: str, details: list[ErrorDetails]) -> str:
    first = details[0]
    if first["type"] == "model_type":
        return f"{key}: expected a section with keys, got {short(repr(first['input']))}"
    if first["type"] == "value_error":  # a section's begins with the key: "epochs: expected ..."
        separator = ": " if _is_of_value(first) else "."
        return (key + separator + first["msg"].removeprefix(OURS)).lstrip(".")
    wanted = " or ".join(WORDS.sub("", detail["msg"]) for detail in details)
    return f"{key}: expected {wanted}, got {short(repr(first['input']))}"


def _is_of_value(detail: ErrorDetails) -> bool:
    """Whether an error of ours is about one value, not about keys that contradict each other."""
    return detail["msg"].startswith(f"{OURS}expected ")


def _plain(name: str) -> str:
    """Return the name of a key, quoted unless it is a plain word."""
    return short(name if re.fullmatch(r"[\w-]+", name) else repr(name))


def _path(detail: ErrorDetails, model: type[BaseModel] | None) -> list[str]:
    """Return the keys on the way to a mistake, without the tags that pydantic adds for a union."""
    parts = []
    for part in detail["loc"]:
        field = model.model_fields.get(str(part)) if model else None
        if field or isinstance(part, int) or detail["type"] == "extra_forbidden":
            parts.append(str(part))
        model = _section(field.annotation) if field else None
    return parts


def _fields(sections: list[str], model: type[BaseModel]) -> list[str]:
    for name in sections:
        section = _section(model.model_fields[name].annotation)
        assert section is not None
        model = section
    return list(model.model_fields)


def _section(annotation: Any) -> type[BaseModel] | None:
    is_section = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return annotation if is_section else None
