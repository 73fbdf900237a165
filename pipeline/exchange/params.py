"""`params.yaml`: read once, checked whole, every mistake on a line of its own."""

import difflib
import json
import re
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipeline.errors import ParamsError
from pipeline.section import Section

PARAMS_FILE = Path("params.yaml")
P = TypeVar("P", bound=Section)


def read_params(model: type[P], path: Path = PARAMS_FILE, *, whole: bool = False) -> P:
    """Read the sections that `model` names from a file; see `parse_params`."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ParamsError(
            f"{path}: no such file; 'cp profiles/digits.yaml {path}' gives one that works"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: cannot be read: {error}") from None
    return parse_params(model, text, str(path), whole=whole)


def parse_params(model: type[P], text: str, where: str, *, whole: bool = False) -> P:
    """Read the sections that `model` names.

    Args:
        model: a section whose fields are the sections of the file.
        text: YAML.
        where: it comes from, as each message begins.
        whole: also refuse a section that `model` does not name.

    Raises:
        ParamsError: one line per mistake: file, key, what was expected, what came.
    """
    document = _load(text, where)
    if not whole:
        document = {key: value for key, value in document.items() if key in model.model_fields}
    try:
        # Through JSON, pydantic's strict mode takes a list for a tuple and 1 for 1.0, but neither
        # `true` nor "1".
        return model.model_validate_json(json.dumps(document, default=str))
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise ParamsError(f"{where}: not plain values: nested too deeply") from None
        lines = [f"{where}: {line}" for line in _mistakes(error.errors(), model)]
        raise ParamsError("\n".join(lines)) from None
    except (TypeError, ValueError, RecursionError) as error:  # what JSON cannot hold
        raise ParamsError(f"{where}: not plain values: {error}") from None


class _Loader(yaml.SafeLoader):
    """YAML as DVC reads it: `3e-4` is a number (YAML 1.2), and a key may stand only once."""

    def construct_mapping(
        self, node: yaml.MappingNode, *args: Any, **kwargs: Any
    ) -> dict[Any, Any]:
        """Build a mapping; raise where a key comes twice."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"'{key}' stands twice", node.start_mark
                )
        mapping = cast("dict[Any, Any]", super().construct_mapping(node, *args, **kwargs))
        return {str(key): value for key, value in mapping.items()}


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def _load(text: str, where: str) -> dict[str, Any]:
    try:
        document = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        reason = getattr(error, "problem", None) or " ".join(str(error).split())
        raise ParamsError(f"{where}: {line}not YAML: {reason}") from None
    except (ValueError, RecursionError) as error:  # a 45th of May
        raise ParamsError(f"{where}: not YAML: {error}") from None
    if not isinstance(document, dict):
        raise ParamsError(
            f"{where}: expected sections such as 'network:', got {type(document).__name__}"
        )
    return document


def _mistakes(errors: list[ErrorDetails], model: type[BaseModel]) -> list[str]:
    """Return one line per key that is wrong; a misspelt key is not also a missing one."""
    by_key: dict[str, list[ErrorDetails]] = {}
    for detail in errors:
        by_key.setdefault(".".join(_path(detail, model)), []).append(detail)
    lines, meant = {}, set()
    for key, details in by_key.items():
        parent, _, name = key.rpartition(".")
        if details[0]["type"] == "extra_forbidden":
            known = _fields(parent, model)
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"known here: {', '.join(known)}"
            lines[key] = f"{key}: unknown key; {hint}"
            meant |= {f"{parent}.{close[0]}".lstrip(".")} if close else set()
        else:
            lines[key] = _explain(key, details)
    missing = {key for key, details in by_key.items() if details[0]["type"] == "missing"}
    return [line for key, line in lines.items() if key not in missing & meant]


def _explain(key: str, details: list[ErrorDetails]) -> str:
    first = details[0]
    if first["type"] == "missing":
        return f"{key}: missing; it has no default"
    if first["type"] == "value_error":  # ours: "<key within the section>: <what is wrong>"
        return f"{key}.{first['msg']}".replace("Value error, ", "").lstrip(".")
    wanted = " or ".join(detail["msg"].removeprefix("Input should be ") for detail in details)
    return f"{key}: expected {wanted}, got {first['input']!r}"


def _path(detail: ErrorDetails, model: type[BaseModel] | None) -> list[str]:
    """Return the keys on the way to a mistake, without the tags that pydantic adds for a union."""
    parts = []
    for part in detail["loc"]:
        field = model.model_fields.get(str(part)) if model else None
        if field or isinstance(part, int) or detail["type"] == "extra_forbidden":
            parts.append(str(part))
        model = _section(field.annotation) if field else None
    return parts


def _fields(key: str, model: type[BaseModel]) -> list[str]:
    for part in filter(None, key.split(".")):
        section = _section(model.model_fields[part].annotation)
        assert section is not None
        model = section
    return list(model.model_fields)


def _section(annotation: Any) -> type[BaseModel] | None:
    is_section = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return annotation if is_section else None
