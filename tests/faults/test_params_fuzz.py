"""Every mistake in `params.yaml` gives a line that names the key, or the line of the file.

The mutations are made from the models: every key, with every kind of value that it must not have.

    python -m pytest -m slow tests/faults/test_params_fuzz.py   # all values of every key
"""

import copy
import itertools
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ruamel.yaml import YAML

from pipeline.__main__ import main
from pipeline.params import Params

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")
GOOD: dict[str, Any] = YAML(typ="safe").load(TEXT)
SCHEMA = Params.model_json_schema()
HUGE = 10**30
VALUES = (
    "text",
    "1",
    "",
    [],
    [1],
    ["text"],
    {},
    {"a": 1},
    None,
    True,
    math.nan,
    math.inf,
    -math.inf,
)
NUMBERS = (-1, 0, 0.5, 1.5, HUGE, -HUGE, 1e300)
CONTRADICTED = {  # a value that is possible by itself -> the key that the line names
    "data.image_size": "augmentation.crop_padding",
    "data.stored_size": "data.stored_size",
    "augmentation.crop_padding": "augmentation.crop_padding",
    "augmentation.cutout": "augmentation.cutout",
    "network.cells": "growth.max_cells",
    "network.channels": "growth.max_channels",
    "growth.max_cells": "growth.max_cells",
    "growth.max_channels": "growth.max_channels",
    "optimize.patience": "optimize.patience",
    "search.arch_paths": "search.arch_paths",
    "search.sampling": "search.explore",
    "search.temperature": "search.temperature_end",
    "search.temperature_end": "search.temperature_end",
    "target.parameters": "target.parameters",
    "target.mflops": "target.mflops",
    "target.kilobytes": "target.kilobytes",
    "warmup.epochs": "warmup.skip_epochs",
    "warmup.skip_epochs": "warmup.skip_epochs",
}


class Mutation(NamedTuple):
    """A wrong file, and the beginnings of the lines that refuse it, after the file's name."""

    what: str
    content: bytes
    lines: tuple[str, ...]


class Answer(NamedTuple):
    code: int
    lines: list[str]


def leaves() -> Iterator[tuple[str, str]]:
    """Yield section ("" at the top) and key of every value."""
    for section, values in GOOD.items():
        if isinstance(values, dict):
            yield from ((section, key) for key in values)
        else:
            yield "", section


def schema_of(section: str, key: str) -> dict[str, Any]:
    properties = SCHEMA["properties"]
    if section:
        properties = SCHEMA["$defs"][properties[section]["$ref"].split("/")[-1]]["properties"]
    found: dict[str, Any] = properties[key]
    return found


def allows(schema: dict[str, Any], value: Any) -> bool:
    """Whether the JSON schema allows a value, independently of pydantic's validation."""
    if "anyOf" in schema:
        return any(allows(one, value) for one in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return isinstance(value, str) and value in schema.get("enum", [schema.get("const")])
    kind = schema["type"]
    if kind == "array":
        items = isinstance(value, list) and all(allows(schema["items"], one) for one in value)
        return items and len(value) >= schema.get("minItems", 0)
    if kind in {"number", "integer"}:
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not (whole or (kind == "number" and isinstance(value, float) and math.isfinite(value))):
            return False
        return (
            schema.get("minimum", value) <= value <= schema.get("maximum", value)
            and value > schema.get("exclusiveMinimum", -math.inf)
            and value < schema.get("exclusiveMaximum", math.inf)
            and value % schema.get("multipleOf", 1 if whole else value or 1) == 0
        )
    types = {"string": str, "boolean": bool, "null": type(None)}
    return isinstance(value, types[kind]) and (
        kind != "string" or len(value) >= schema.get("minLength", 0)
    )


def beyond(schema: dict[str, Any]) -> Iterator[Any]:
    """Yield the values next to the ends of a range, on both sides."""
    for one in (schema, *schema.get("anyOf", ())):
        for end in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
            if end in one:
                yield from (one[end] - 1, one[end], one[end] + 1)


def dumped(document: Any) -> bytes:
    """Return YAML; a section that is the good one's own object is not written again."""
    if not isinstance(document, dict) or not document:
        return written(document)
    return b"".join(
        PARTS[name] if name in GOOD and value is GOOD[name] else written({name: value})
        for name, value in document.items()
    )


def written(document: Any) -> bytes:
    text, yaml = StringIO(), YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.dump(document, text)
    return text.getvalue().encode()


PARTS = {name: written({name: value}) for name, value in GOOD.items()}


def dotted(*names: str) -> str:
    return ".".join(filter(None, names))


def with_value(section: str, key: str, value: Any) -> bytes:
    if not section:
        return dumped({**GOOD, key: value})
    return dumped({**GOOD, section: {**GOOD[section], key: value}})


def valid_and_wrong_values() -> tuple[list[Mutation], list[Mutation]]:
    valid, wrong = [], []
    for section, key in leaves():
        schema, name = schema_of(section, key), dotted(section, key)
        for value in (*VALUES, *NUMBERS, *beyond(schema)):
            of_item = value in ([1], ["text"]) and allows(schema, [])
            # Which operations there are is known to the search space, not to each item.
            of_item &= not (name == "network.operations" and value == ["text"])
            begin = f"{name}.0: " if of_item else f"{name}: "
            made = Mutation(f"{name}: {value!r}", with_value(section, key, value), (begin,))
            (valid if allows(schema, value) else wrong).append(made)
    return valid, wrong


def wrong_keys() -> Iterator[Mutation]:
    for section, key in leaves():
        name = dotted(section, key)
        for what, other in (("renamed", f"{key}x"), ("missing", None), ("foreign", "zzz")):
            document = {**GOOD, section: {**GOOD[section]}} if section else {**GOOD}
            place = document[section] if section else document
            value = place.pop(key)
            lines: tuple[str, ...] = (f"{name}: missing",)
            if other:
                place[other] = value
                lines = (f"{dotted(section, other)}: unknown key",)
            if what == "foreign":
                lines = (*lines, f"{name}: missing")
            yield Mutation(f"{name} {what}", dumped(document), lines)
        pattern = rf"^( *)({key}:.*)$" if section else rf"^()({key}:.*)$"
        start = TEXT.index(f"\n{section}:\n") if section else 0
        twice = re.sub(pattern, r"\1\2\n\1\2", TEXT[start:], count=1, flags=re.MULTILINE)
        if key not in {"operations", "kinds"}:
            yield Mutation(f"{name} twice", (TEXT[:start] + twice).encode(), ("line ",))
    sections = [name for name, value in GOOD.items() if isinstance(value, dict)]
    for section in sections:
        for value in (None, 3, "text", [], [{}], True):
            yield Mutation(f"{section}: {value}", with_value("", section, value), (f"{section}: ",))
        rest = {name: value for name, value in GOOD.items() if name != section}
        yield Mutation(f"no {section}", dumped(rest), (f"{section}: missing",))
        twice = TEXT + f"\n{section}: {{}}\n"
        yield Mutation(f"{section} twice", twice.encode(), ("line ",))
        for extra in ("colour", "a.b", "line\nbreak", "\x1b[2J", "", "é", "\ud800", "x" * 999, 5):
            document = copy.deepcopy(GOOD)
            document[section][extra] = 1
            text = json.dumps(document).encode()
            begin = "line " if extra == "\ud800" else f"{section}."
            yield Mutation(f"{section}: extra {extra!r}", text, (begin,))
        moved = copy.deepcopy(GOOD)
        moved[f"{section}.epochs"] = 3
        yield Mutation(
            f"{section}.epochs at the top", dumped(moved), (f"'{section}.epochs': unknown",)
        )


CONTRADICTIONS = {
    ("growth", "max_cells"): ("network", "cells", 64),
    ("growth", "max_channels"): ("network", "channels", 64),
    ("augmentation", "crop_padding"): ("augmentation", "crop_padding", 8),
    ("augmentation", "cutout"): ("augmentation", "cutout", 8),
    ("search", "temperature_end"): ("search", "temperature", 0.01),
    ("warmup", "skip_epochs"): ("warmup", "skip_epochs", 16),
    ("network", "operations"): ("network", "operations", ["none", "conv_1x1"]),
    ("growth", "kinds"): ("growth", "kinds", ["widen", "widen"]),
}
BOMB = b"a: &a [1,1,1,1,1,1,1,1,1,1]\n" + b"".join(
    b"%c: &%c [%s]\n" % (new, new, b",".join([b"*%c" % old] * 10))
    for old, new in itertools.pairwise(b"abcdefghij")
)
FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "expected sections"),
    "only a comment": (b"# nothing\n", "expected sections"),
    "a list": (b"- 1\n", "expected sections"),
    "a word": (b"digits\n", "expected sections"),
    "null": (b"null\n", "expected sections"),
    "two documents": (TEXT.encode() + b"---\nb: 2\n", "line "),
    "a tab": (TEXT.replace("  name:", "\tname:", 1).encode(), "line "),
    "a zero byte": (b"seed: \0\n", "line "),
    "a control character": (TEXT.encode() + b"# \x1b[2J\n", "line "),
    "not UTF-8": (TEXT.encode() + b"# \xff\n", "line "),
    "Latin-1": (TEXT.encode() + "# Größe\n".encode("latin-1"), "line "),
    "UTF-16": (TEXT.encode("utf-16"), "line "),
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0", "line "),
    "cut off": (TEXT.encode() + b"more: [1, 2", "line "),
    "an open quote": (TEXT.encode() + b'more: "x\n', "line "),
    "a bare word": (TEXT.encode() + b"more\n", "line "),
    "deep": (b"a: " + b"[" * 9_999, "not YAML: nested too deeply"),
    "deep, but YAML": (b"a: " + b"[" * 250 + b"]" * 250, "not plain values"),
    "a number without end": (b"seed: " + b"9" * 9_999, "line 1"),
    "a bomb": (BOMB, "line 2"),
    "a bomb of sections": (BOMB.replace(b"[", b"{x: ").replace(b"]", b"}"), "line "),
    "an alias": (b"seed: &a 3\nother: *a\n", "line 2"),
    "an alias of itself": (b"seed: &a [*a]\n", "line 1"),
    "a merge": (b"a: &a {b: 1}\nc:\n  <<: *a\n", "line 3"),
    "a list as a key": (b"? [1, 2]\n: 3\n", "line 1"),
    "a mapping as a key": (b"? {a: 1}\n: 3\n", "line 1"),
    "1 and '1'": (b"1: a\n'1': b\n", "line 2"),
    "YAML 1.1": (b"%YAML 1.1\n---\n" + TEXT.encode(), "line "),
    "many digits": (b"seed: 0x" + b"f" * 9_999, "line 1"),
}
TAGS = (
    "!!python/object/apply:os.system ['touch run']",
    "!!python/object/new:os.system ['touch run']",
    "!!python/name:os.system",
    "!!python/module:os",
    "!!int ''",
    "!!int text",
    "!!float text",
    "!!bool maybe",
    "!!timestamp never",
    "!!binary '?'",
    "!!set {a, b}",
    "!!omap [a: 1]",
    "!!null 1",
    "!own 3",
    "! 3",
    "*nowhere",
)
SPELT = ("1:30", "٣", "1e999", "1,5", "1.", "1e1", "0o8", "--1", "1 000")
"""Texts that some language, but not DVC, reads as a whole number."""


def wrong_files() -> Iterator[Mutation]:
    for (section, key), change in CONTRADICTIONS.items():
        yield Mutation(f"{key} contradicts", with_value(*change), (f"{section}.{key}: ",))
    for what, (content, line) in FILES.items():
        yield Mutation(what, content, (line,))
    for tag in TAGS:
        for key in ("seed: 42", "  cells: 3", "  flip: false"):
            text = TEXT.replace(key, f"{key.partition(':')[0]}: {tag}", 1)
            yield Mutation(f"{key} {tag}", text.encode(), ("line ",))
    for date in ("2001-01-01", "2001-13-45", "2001-01-01 10:00:00"):
        text = TEXT.replace("path: data", f"path: {date}", 1)
        yield Mutation(f"path: {date}", text.encode(), ("line ",))
    for number in SPELT:
        text = TEXT.replace("arch_update_freq: 5 ", f"arch_update_freq: {number} ", 1)
        line = "search.arch_update_freq: expected"
        yield Mutation(f"arch_update_freq: {number}", text.encode(), (line,))


def checked(path: Path, capsys: pytest.CaptureFixture[str]) -> Answer:
    """Return the output of `aso-se check` without the name of the file; it must exit."""
    sys.argv[1:] = ["check", str(path)]
    code = 0
    try:
        main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    out, err = capsys.readouterr()
    assert bool(out) == (code == 0)
    assert err.isprintable() or err.replace("\n", "").isprintable()
    lines = err.splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    return Answer(code, [line.removeprefix(f"{path}: ") for line in lines])


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "argv", ["aso-se"])
    return tmp_path / "params.yaml"


@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_every_mistake_is_one_line_that_names_its_key(
    step: int, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = valid_and_wrong_values()[1][::step]  # a third has all keys and all kinds of value
    mutations = [*values, *wrong_keys(), *wrong_files()]
    assert len({content for _, content, _ in mutations}) >= 300
    wrong = []
    for what, content, expected in mutations:
        path.write_bytes(content)
        code, lines = checked(path, capsys)
        named = len(lines) == len(expected) and all(
            any(line.startswith(begin) for line in lines) for begin in expected
        )
        if code != 1 or not named or max(map(len, lines)) > 600:
            wrong.append((what, code, lines))
    assert not wrong
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]  # nothing was run


def test_what_the_models_allow_is_valid_or_contradicts_another_key(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mutations = valid_and_wrong_values()[0]
    assert len(mutations) > 100
    for what, content, _ in mutations:
        name = what.partition(":")[0]
        path.write_bytes(content)
        code, lines = checked(path, capsys)
        if code:
            assert name in CONTRADICTED or name in {"growth.kinds", "network.operations"}, what
            assert len(lines) == 1
            assert lines[0].startswith(f"{CONTRADICTED.get(name, name)}: "), what


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + TEXT.encode(),
        TEXT.replace("\n", "\r\n").encode(),
        b"%YAML 1.2\n---\n" + TEXT.encode() + b"...\n",
        TEXT.replace("max_cells: 5", "max_cells: 0_5").encode(),
        TEXT.replace("path: data", "path: '2001-01-01'").encode(),
        TEXT.replace("max_cells: 5", "max_cells: 0x5").encode(),
        TEXT.replace("seed: 42", '"seed": &s 42').encode(),
    ],
    ids=["BOM", "CRLF", "directive", "underscore", "date", "hexadecimal", "quoted"],
)
def test_another_spelling_of_the_same_params_is_valid(
    content: bytes, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_bytes(content)
    assert checked(path, capsys) == (0, [])


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("folder", "cannot be read: Is a directory"),
        ("nothing", "no such file; 'aso-se profile digits' writes"),
        ("loop", "cannot be read: Too many levels of symbolic links"),
    ],
)
def test_what_is_no_file_is_one_line(
    kind: str, reason: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if kind == "folder":
        path.mkdir()
    if kind == "loop":
        path.symlink_to(path)
    code, (line,) = checked(path, capsys)
    assert code == 1
    assert line.startswith(reason)


def stage(folder: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "stages.check", "artifacts/check"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )


PROCESSES = {
    "a code": TAGS[0].join(("seed: ", "\n")).encode(),
    "a bomb": BOMB,
    "not UTF-8": b"\xff\xfe\0",
    "a key with a line break": b'"line\\nbreak": 1\n' + TEXT.encode(),
    "half a character": b'"\\ud800": 1\n' + TEXT.encode(),
    "out of range": TEXT.replace("cells: 3", "cells: 2", 1).encode(),
    "contradictory": TEXT.replace("temperature_end: 0.1", "temperature_end: 3.0").encode(),
    "empty": b"",
}


@pytest.mark.parametrize("kind", PROCESSES)
def test_the_stage_ends_with_1_and_one_line_and_leaves_what_was_there(
    kind: str, tmp_path: Path
) -> None:
    (tmp_path / "params.yaml").write_bytes(PROCESSES[kind])
    before = tmp_path / "artifacts/check/params.txt"
    before.parent.mkdir(parents=True)
    before.write_text("as it was")
    done = stage(tmp_path)
    assert (done.returncode, done.stdout) == (1, b"")
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("params.yaml: ")
    assert before.read_text() == "as it was"
    assert not (tmp_path / "run").exists()
