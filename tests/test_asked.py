"""The page of what the method's documents ask for is whole, and what it names exists."""

import json
import re
from collections import Counter
from pathlib import Path

from pipeline.documenting import schema

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "asked.md").read_text()
ROWS = re.findall(r"^\| (\d+) \| (.+) \| (\w+) \| (.+) \|$", PAGE, flags=re.MULTILINE)
REASONS = set(re.findall(r"^- (\d+): ", PAGE, flags=re.MULTILINE))
STATES = ("done", "otherwise", "open")


def params() -> set[str]:
    """Return every key of `params.yaml`, as `section.key`."""
    sections = {
        name.removesuffix("Params").lower(): section["properties"]
        for name, section in json.loads(schema())["$defs"].items()
        if "properties" in section
    }
    return {"seed", *(f"{name}.{key}" for name, keys in sections.items() for key in keys)}


def test_every_number_from_1_to_231_stands_once_and_in_order() -> None:
    assert [int(number) for number, *_ in ROWS] == list(range(1, 232))


def test_the_counts_at_the_top_are_those_of_the_rows() -> None:
    states = Counter(state for _, _, state, _ in ROWS)
    assert set(states) == set(STATES)
    told = ", ".join(f"{states[state]} {state}" for state in STATES)
    assert f"{len(ROWS)} rows: {told}." in " ".join(PAGE.split())


def test_what_is_not_simply_done_has_its_reason_below() -> None:
    assert {number for number, _, state, _ in ROWS if state != "done"} <= REASONS
    assert {number for number, *_ in ROWS} >= REASONS


def test_every_row_names_files_and_params_that_exist() -> None:
    known = params()
    for number, _, _, where in ROWS:
        named = where.split(", ")
        assert named, number
        for one in named:
            name = one.removeprefix("`").removesuffix("`")
            assert one == f"`{name}`", (number, one)
            assert name in known or (ROOT / name).exists(), (number, name)
