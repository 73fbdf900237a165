"""Plain values from YAML 1.2, read as DVC reads them; an error names its line."""

import json
from typing import Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError
from ruamel.yaml.constructor import ConstructorError, SafeConstructor
from ruamel.yaml.docinfo import Version
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode
from ruamel.yaml.reader import ReaderError

from pipeline.harness.errors import ParamsError

NOT_PLAIN = "expected plain values, without aliases and tags"
TIMESTAMP, MERGE = (f"tag:yaml.org,2002:{name}" for name in ("timestamp", "merge"))
LONGEST = 80
"""Largest number of characters of a value in a message."""


def plain_values(text: str, where: str) -> dict[str, Any]:
    """Read a YAML document that consists of sections.

    The pure Python parser is the same on every machine; DVC uses libyaml where that is installed.
    Both give the same values, because both use ruamel.yaml's rules for YAML 1.2.

    Args:
        text: YAML.
        where: origin of the text, with which each message begins.

    Raises:
        ParamsError: the text is anything else; names the line.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer, yaml.Constructor = _Composer, _Constructor
    try:
        document = yaml.load(text)
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ParamsError(f"{where}: line {line}: not YAML: {error.reason}") from None
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ParamsError(f"{where}: line {line}: not YAML: {error.problem}") from None
    except RecursionError:
        raise ParamsError(f"{where}: not YAML: nested too deeply") from None
    if not isinstance(document, dict):
        raise ParamsError(
            f"{where}: expected sections such as 'network:', got {type(document).__name__}"
        )
    return document


def short(text: str) -> str:
    """Return a text for a message, cut off after `LONGEST` characters."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def spelt(value: object) -> str:
    """Return a plain value on one line, as a person writes it."""
    return value if isinstance(value, str) else json.dumps(value).replace('"', "")


class _Composer(Composer):
    """Refuses aliases and tags: ten lines of aliases can stand for a billion values."""

    def __init__(self, loader: Any = None) -> None:
        super().__init__(loader)
        self.warn_double_anchors = False

    def compose_node(self, parent: Node | None, index: Any) -> Node:
        event = self.parser.peek_event()
        if isinstance(event, AliasEvent) or getattr(event, "tag", None):
            raise ComposerError(None, None, NOT_PLAIN, event.start_mark)
        node: Node = super().compose_node(parent, index)
        return node


class _Constructor(SafeConstructor):
    """Builds texts, numbers, booleans, nulls, lists, and mappings with unique text keys."""

    def construct_document(self, node: Node) -> Any:
        version = self.loader.doc_infos[-1].doc_version
        if version not in (None, Version(1, 2)):
            _refuse("expected YAML 1.2, which DVC reads", node)
        return super().construct_document(node)

    def construct_object(self, node: Node, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - ruamel's
        if node.tag == TIMESTAMP:
            _refuse(f"{short(node.value)} is a date; quote it to make it text", node)
        if node.tag == MERGE:
            _refuse(NOT_PLAIN, node)
        try:
            value = super().construct_object(node, deep=deep)
            if isinstance(node, ScalarNode):
                # Half a surrogate pair is not text; Python reads at most 4,300 digits from JSON.
                str(value).encode()
        except ValueError as error:
            _refuse(str(error), node)
        return value

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002
        mapping: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                _refuse("expected a name before the colon", key)
            name = str(self.construct_object(key, deep=True))
            if name in mapping:
                _refuse(f"duplicate key {short(repr(name))}", key)
            mapping[name] = self.construct_object(value, deep=deep)
        return mapping


def _refuse(reason: str, node: Node) -> NoReturn:
    raise ConstructorError(None, None, reason, node.start_mark)
