"""`params.yaml` for a run: a profile or the file itself, with some values replaced."""

from collections.abc import Iterable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from pipeline.harness.errors import ParamsError
from pipeline.harness.params_file import PARAMS_FILE, parse_params, read_text
from pipeline.harness.plain_yaml import plain_values
from pipeline.params import Params
from pipeline.profiles import PROFILES, read_profile


def compose(tree: Path, profile: str | None, overrides: Mapping[str, Any]) -> str:
    """Return the text of a valid `params.yaml`, with its comments.

    Args:
        tree: a clone of the project.
        profile: name of a file in `profiles/`; None for the tree's own `params.yaml`.
        overrides: params to change, such as {"search.arch_update_freq": 5}.

    Raises:
        ParamsError: there is no such profile, or keys are wrong (one line per key).
    """
    where = f"{PROFILES / profile}.yaml" if profile else str(PARAMS_FILE)
    text = read_profile(tree, profile) if profile else read_text(tree / PARAMS_FILE)
    if overrides:
        plain_values(text, where)  # before ruamel, which fails on strange tags
        text = replace(text, overrides)
        where += " with " + ", ".join(f"{key}={value}" for key, value in overrides.items())
    parse_params(Params, text, where, whole=True)
    return text


def read_overrides(words: Iterable[str]) -> dict[str, Any]:
    """Return params to change from words such as 'search.arch_update_freq=5', read as YAML.

    Raises:
        ParamsError: a word is malformed, or two have the same key.
    """
    overrides: dict[str, Any] = {}
    for word in words:
        key, _, value = word.partition("=")
        if not (key and value):
            raise ParamsError(f"{word}: expected KEY=VALUE, such as search.arch_update_freq=5")
        if key in overrides:
            raise ParamsError(f"{word}: {key} has a value already: {overrides[key]}")
        overrides[key] = plain_values(f"value: {value}", word)["value"]
    return overrides


def replace(text: str, overrides: Mapping[str, Any]) -> str:
    """Return YAML with the values of some keys replaced, in the form in which DVC writes it.

    Raises:
        ParamsError: a part of a key before its last dot is not a section.
    """
    yaml = YAML()
    try:
        document = yaml.load(text)
    except YAMLError as error:
        raise ParamsError(f"{PARAMS_FILE}: not YAML: {' '.join(str(error).split())}") from None
    for key, value in overrides.items():
        *sections, name = key.split(".")
        place = document
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise ParamsError(f"{key}: unknown key; '{section}' is a value, not a section")
        place[name] = value
        if isinstance(place, CommentedMap) and name in place.ca.items and value == []:
            # Else ruamel writes an empty list behind the comment of a longer one as broken YAML.
            place.ca.items[name][3:] = [None]
    written = StringIO()
    yaml.dump(document, written)
    return written.getvalue()
