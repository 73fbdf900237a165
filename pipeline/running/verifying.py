"""`aso-se verify`: check that every byte of the artifacts is as `dvc.lock` records it.

DVC trusts a file of the same size and time, and a write-protected object of its cache. So it finds
bit rot in neither; this hashes both.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from pipeline.console.progress import say
from pipeline.harness.places import LOCK
from pipeline.locking.lock import hold, signature
from pipeline.running.experiments import dvc
from pipeline.running.front import refuse, require_clone
from pipeline.running.recorded import read_outputs

FOLDER = ".dir"
"""Suffix of the digest of a folder, whose object in the cache is a list of its files."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A file that is not as recorded. remedy: command after which 'aso-se run' restores it."""

    path: Path
    problem: str
    remedy: str = ""


def report(tree: Path) -> int:
    """Print what differs and how to restore it; return 1 if anything differs, else 0.

    Raises:
        RunError: `tree` is not a clone or is in use, or its `dvc.lock` is missing or damaged.
    """
    require_clone(tree)
    with _to_itself(tree):
        files, found = verify(tree)
    if not found:
        say(f"{files} files, all as recorded in dvc.lock")
        return 0
    for difference in found:
        say(f"{difference.path}: {difference.problem}")
    say("\nTo restore them:")
    for command in [*(one.remedy for one in found if one.remedy), "aso-se run"]:
        say(f"  {command}")
    return 1


def verify(tree: Path) -> tuple[int, list[Difference]]:
    """Return the number of files in `dvc.lock`, and all that differ, in the tree and DVC's cache.

    Raises:
        RunError: `dvc.lock` is missing or damaged, or DVC does not say where its cache is.
    """
    objects = Path(dvc(tree, "cache", "dir")) / "files" / "md5"
    files: dict[Path, str] = {}
    found: list[Difference] = []
    for name, digest in read_outputs(tree).items():
        content = objects / digest[:2] / digest[2:]
        if not digest.endswith(FOLDER):
            files[Path(name)] = digest
        elif problem := _problem(content, digest):
            remedy = f"rm -rf {quote(name)} {quote(str(content))}"
            found.append(Difference(content, f"{problem}: the list of files in {name}", remedy))
        else:
            for entry in json.loads(content.read_bytes()):
                files[Path(name) / entry["relpath"]] = entry["md5"]
    for path, digest in files.items():
        found += _compare(tree, path, digest, objects / digest[:2] / digest[2:])
    return len(files), found


def _to_itself(tree: Path) -> AbstractContextManager[object]:
    """Hold the tree's lock; nothing here can change a tree that cannot be written to."""
    if not os.access(tree, os.W_OK):
        return nullcontext()
    return hold(tree / LOCK, signature("aso-se verify"), waiting=refuse)


def _compare(tree: Path, path: Path, digest: str, cached: Path) -> Iterator[Difference]:
    """Yield what is wrong with a file, and with its object in the cache if it has one."""
    problem = _problem(tree / path, digest)
    if problem:
        yield Difference(
            path, problem, "" if problem == "missing" else f"rm -rf {quote(str(path))}"
        )
    if _problem(cached, digest) == "changed":
        shown = quote(str(cached))
        remedy = f"rm -f {shown}" if problem else f"install -m 444 {quote(str(path))} {shown}"
        yield Difference(cached, f"changed: the copy of {path} in DVC's cache", remedy)


def _problem(path: Path, digest: str) -> str:
    """Return 'missing' or 'changed', or '' if the file has the digest."""
    if not path.is_file():
        return "changed" if path.exists() else "missing"
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    return "" if actual == digest.removesuffix(FOLDER) else "changed"
