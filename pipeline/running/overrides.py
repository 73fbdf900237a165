"""`params.yaml` for a run: a profile or the file itself, with some numbers replaced."""

from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.harness.errors import ParamsError
from pipeline.harness.params_file import PARAMS_FILE, parse_params, read_text
from pipeline.harness.plain_yaml import plain_values
from pipeline.params import Params
from pipeline.profiles import PROFILES, read_profile


def compose(tree: Path, profile: str | None, overrides: Mapping[str, Any]) -> str:
    """Return the text of a valid `params.yaml`; its comments stay.

    Args:
        tree: a clone of the project.
        profile: name of a file of `profiles/`; None is the tree's own `params.yaml`.
        overrides: such as {"search.arch_update_freq": 5}.

    Raises:
        ParamsError: no such profile; or one line per key that is wrong.
    """
    where = f"{PROFILES / profile}.yaml" if profile else str(PARAMS_FILE)
    text = read_profile(tree, profile) if profile else read_text(tree / PARAMS_FILE)
    if overrides:
        plain_values(text, where)  # before ruamel, which stumbles over strange tags
        text = replace(text, overrides)
        where += " with " + ", ".join(f"{key}={value}" for key, value in overrides.items())
    parse_params(Params, text, where, whole=True)
    return text


def replace(text: str, overrides: Mapping[str, Any]) -> str:
    """Return YAML with the values of some keys replaced, in the form in which DVC writes it.

    Raises:
        ParamsError: a key leads through something that is no section.
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
                raise ParamsError(f"{key}: unknown key; '{section}' is a value, no section")
        place[name] = value
    written = StringIO()
    yaml.dump(document, written)
    return written.getvalue()
