"""constraints.txt holds the exact version and the hashes of all that `make install` takes."""

import re
from itertools import pairwise
from pathlib import Path

from packaging.utils import canonicalize_name

from tests.test_licences import EXTRAS, needed

LINES = (Path(__file__).resolve().parents[1] / "constraints.txt").read_text().splitlines()
PINNED = re.compile(r"([a-z0-9._-]+)==([^ ;]+)( ; [^\\]+)? \\")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")


def test_every_line_is_an_exact_version_or_a_hash_and_no_host_is_named() -> None:
    assert [line for line in LINES if not PINNED.fullmatch(line) and not HASH.fullmatch(line)] == []


def test_every_version_has_a_hash() -> None:
    pinned = [(line, after) for line, after in pairwise(LINES) if PINNED.fullmatch(line)]
    assert len(pinned) > 100
    assert all(HASH.fullmatch(after) for _, after in pinned)


def test_nothing_that_is_needed_is_left_out() -> None:
    found = {canonicalize_name(one[1]) for line in LINES if (one := PINNED.fullmatch(line))}
    wanted = needed(*EXTRAS).keys() | {"uv", "pip"}
    assert wanted - found == set()


def test_what_is_installed_is_what_is_checked() -> None:
    makefile = (Path(__file__).resolve().parents[1] / "Makefile").read_text(encoding="utf-8")
    assert f"EXTRAS := {','.join(EXTRAS)}\n" in makefile
