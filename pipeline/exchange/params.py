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
    """Read the sections that `model` names.

    Args:
        model: a section whose fields are the sections of the file.
        path: the params file.
        whole: also refuse a section that `model` does not name.

    Raises:
        ParamsError: one line per mistake: file, key, what was expected, what came.
    """
    document = _load(path)
    if not whole:
        document = {key: value for key, value in document.items() if key in model.model_fields}
    try:
        # Through JSON, pydantic's strict mode takes a list for a tuple and 1 for 1.0,
        # but neither `true` nor "1".
        return model.model_validate_json(json.dumps(document, default=str))
    except ValidationError as error:
        lines = [f"{path}: {_explain(detail, model)}" for detail in error.errors()]
        raise ParamsError("\n".join(lines)) from None


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
        return cast("dict[Any, Any]", super().construct_mapping(node, *args, **kwargs))


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def _load(path: Path) -> dict[str, Any]:
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except FileNotFoundError:
        raise ParamsError(
            f"{path}: no such file; 'cp profiles/digits.yaml {path}' gives one that works"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise ParamsError(
            f"{path}: {where}not YAML: {getattr(error, 'problem', None) or error}"
        ) from None
    if not isinstance(document, dict):
        raise ParamsError(
            f"{path}: expected sections such as 'network:', got {type(document).__name__}"
        )
    return {str(key): value for key, value in document.items()}


def _explain(detail: ErrorDetails, model: type[BaseModel]) -> str:
    key = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"{key}: unknown key{_suggestion(detail, model)}"
    if detail["type"] == "missing":
        return f"{key}: missing; it has no default"
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "value_error":
        return f"{key}: {message}" if key else message
    return f"{key}: {message.replace('Input should be', 'expected')}, got {detail['input']!r}"


def _suggestion(detail: ErrorDetails, model: type[BaseModel]) -> str:
    *parents, last = (str(part) for part in detail["loc"])
    for parent in parents:
        annotation = model.model_fields[parent].annotation if parent in model.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return ""
        model = annotation
    close = difflib.get_close_matches(last, model.model_fields, n=1)
    return (
        f"; did you mean '{close[0]}'?"
        if close
        else f"; known here: {', '.join(model.model_fields)}"
    )
