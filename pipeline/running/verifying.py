"""`aso-se verify`: check that every byte of the artifacts is as `dvc.lock` records it.

DVC trusts a file of the same size and time, and a write-protected object of its cache. So it finds
bit rot in neither; this hashes both.
"""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain, count
from operator import itemgetter
from pathlib import Path

from pipeline.console.progress import say
from pipeline.harness.files import write_atomically
from pipeline.harness.places import LOCK, REPLACED
from pipeline.harness.written import md5
from pipeline.locking.lock import hold, signature
from pipeline.running.experiments import dvc
from pipeline.running.front import refuse
from pipeline.running.graph import kept_by_git, require_clone
from pipeline.running.recorded import FOLDER, read_outputs
from pipeline.running.remote import default_remote, fetched

PROTECTED = 0o444
"""Mode of the objects of DVC's cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A file or an object of DVC's cache that is not as recorded.

    wrong: paths of what has to be taken away, absolute if DVC's cache has them. whole: function
    that returns the right content, if the tree, the cache or Git has it.
    """

    path: Path
    problem: str
    wrong: tuple[Path, ...] = ()
    whole: Callable[[], bytes] | None = None


def report(tree: Path, *, repair: bool = False, remote: bool = False) -> int:
    """Print what differs and how to restore it; return 1 if anything differs, else 0.

    repair: restore first what can be. remote: compare with DVC's default remote instead, by
    fetching all of it.

    Raises:
        RunError: `tree` is not a clone or is in use, its `dvc.lock` is missing or damaged, or there
            is no remote, or it does not answer.
    """
    require_clone(tree)
    with _to_itself(tree):
        if remote:
            return _report_remote(tree)
        if not repair and _is_empty(tree):
            say("nothing that dvc.lock records is in this clone; 'aso-se run' makes it")
            return 1
        files, found = verify(tree)
        if repair and found:
            for one in found:
                _repair(tree, one)
            files, found = verify(tree)
    if not found:
        say(f"{files} files, all as recorded in dvc.lock")
        return 0
    for difference in found:
        say(f"{difference.path}: {difference.problem}")
    say("\nTo restore them:")
    if any(one.wrong or one.whole for one in found):
        say("  aso-se verify --repair")
    say("  aso-se run")
    return 1


def verify(tree: Path) -> tuple[int, list[Difference]]:
    """Return the number of files in `dvc.lock`, and all that differ, in the tree and DVC's cache.

    Raises:
        RunError: `dvc.lock` is missing or damaged, or DVC does not say where its cache is.
    """
    objects = Path(dvc(tree, "cache", "dir")) / "files" / "md5"
    outputs = read_outputs(tree)
    kept = kept_by_git(tree)
    found: list[Difference] = []
    files = 0
    for output, digest in outputs.items():
        listed = objects / digest[:2] / digest[2:]
        if digest.endswith(FOLDER) and (problem := _problem(listed, digest)):
            again = _list_of(tree / output)
            files += len(json.loads(again))
            is_whole = hashlib.md5(again, usedforsecurity=False).hexdigest() + FOLDER == digest
            found += _compare_list(tree, output, listed, problem, again if is_whole else b"")
            continue
        for path, one in _files(output, digest, listed):
            files += 1
            cached = objects / one[:2] / one[2:]
            found += _compare(tree, path, one, cached, in_git=output in kept)
    return files, found


def _to_itself(tree: Path) -> AbstractContextManager[object]:
    """Hold the tree's lock; nothing here can change a tree that cannot be written to."""
    if not os.access(tree, os.W_OK):
        return nullcontext()
    return hold(tree / LOCK, signature("aso-se verify"), waiting=refuse)


def _report_remote(tree: Path) -> int:
    """Print which recorded files the remote lacks or has otherwise; return 1 if any, else 0."""
    name = default_remote(tree)
    kept = kept_by_git(tree)
    outputs = {path: digest for path, digest in read_outputs(tree).items() if path not in kept}
    say(f"reading back what is in the remote '{name}' ...")
    lines = []
    with fetched(tree) as objects:
        wanted = {f"the list of files in {path}": digest for path, digest in outputs.items()}
        wanted = {told: digest for told, digest in wanted.items() if digest.endswith(FOLDER)}
        lists: dict[str, str] = {}
        for output, digest in outputs.items():
            files = _files(output, digest, objects / digest[:2] / digest[2:])
            found = {str(path): one for path, one in files}
            wanted |= found
            if digest.endswith(FOLDER):
                lists |= dict.fromkeys(found, f"files/md5/{digest[:2]}/{digest[2:]}")
        if not objects.exists():
            say(
                f"nothing that dvc.lock records is in the remote '{name}', or it does not answer;"
                " 'dvc push' pushes it"
            )
            return 1
        for told, digest in wanted.items():
            place = Path(digest[:2]) / digest[2:]
            if problem := _problem(objects / place, digest):
                there = [f"files/md5/{place}"] if problem == "changed" else []
                # DVC takes a folder whose list is there for whole, and pushes nothing of it.
                there += [lists[told]] if told in lists else []
                first = f"; remove {' and '.join(there)}" if there else ""
                lines.append(f"{told}: {problem} in the remote '{name}'{first}")
    for line in lines:
        say(line)
    if lines:
        say("\nTo push them again: remove there what these lines say, then 'dvc push'")
        return 1
    say(f"{len(wanted)} files and lists, all in the remote '{name}' as recorded in dvc.lock")
    return 0


def _is_empty(tree: Path) -> bool:
    """Whether no output is in the tree but for those that Git keeps."""
    kept = kept_by_git(tree)
    return not any((tree / path).exists() for path in read_outputs(tree) if path not in kept)


def _files(output: str, digest: str, listed: Path) -> Iterator[tuple[Path, str]]:
    """Yield path and digest of each file of an output; none of a folder without a whole list."""
    if not digest.endswith(FOLDER):
        yield Path(output), digest
    elif not _problem(listed, digest):
        for entry in json.loads(listed.read_bytes()):
            yield Path(output) / entry["relpath"], entry["md5"]


def _list_of(folder: Path) -> bytes:
    """Return the list that DVC makes of a folder's files."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    entries = [{"md5": md5(one), "relpath": one.relative_to(folder).as_posix()} for one in files]
    return json.dumps(sorted(entries, key=itemgetter("relpath"))).encode()


def _compare_list(
    tree: Path, output: str, listed: Path, problem: str, again: bytes
) -> Iterator[Difference]:
    """Yield what is wrong with a folder whose list is. again: the right list, if the tree has it.

    As with files, it does no harm if the cache merely lacks the list.
    """
    if not (again and problem == "missing"):
        wrong = (listed,) if again else (Path(output), listed)
        yield Difference(
            path=listed,
            problem=f"{problem}: the list of files in {output}",
            wrong=tuple(path for path in wrong if (tree / path).exists()),
            whole=(lambda: again) if again else None,
        )


def _compare(
    tree: Path, path: Path, digest: str, cached: Path, *, in_git: bool
) -> Iterator[Difference]:
    """Yield what is wrong with a file, and with its object in the cache if it has one."""
    in_cache = _problem(cached, digest)
    if problem := _problem(tree / path, digest):
        wrong = () if problem == "missing" else (path,)
        whole = None if in_cache else cached.read_bytes
        if in_git and not whole:
            whole = _from_git(tree, path, digest)
        if in_git and not whole and wrong:
            wrong = ()
            problem += (
                ", and neither DVC's cache nor Git has what was recorded; remove it, so that"
                " 'aso-se run' makes it again"
            )
        yield Difference(path=path, problem=problem, wrong=wrong, whole=whole)
    if in_cache == "changed":
        yield Difference(
            path=cached,
            problem=f"changed: the copy of {path} in DVC's cache",
            wrong=(cached,),
            whole=None if problem else (tree / path).read_bytes,
        )


def _from_git(tree: Path, path: Path, digest: str) -> Callable[[], bytes] | None:
    """Return a function that returns the committed file, None if that is not as recorded."""
    command = ["git", "show", f"HEAD:./{path.as_posix()}"]
    shown = subprocess.run(command, cwd=tree, capture_output=True, check=False)  # noqa: S603
    content = shown.stdout
    is_whole = hashlib.md5(content, usedforsecurity=False).hexdigest() == digest
    return (lambda: content) if shown.returncode == 0 and is_whole else None


def _repair(tree: Path, one: Difference) -> None:
    """Put right what is wrong, if its right content is anywhere; say so, or why it failed.

    A wrong file of the tree is moved to REPLACED, as it may be somebody's work; a wrong object of
    the cache is removed. What is whole nowhere is then missing, and a run makes it again.
    """
    try:
        for path in one.wrong:
            if path.is_absolute():
                path.unlink()
            else:
                say(f"{path}: moved to {_set_aside(tree, path)}")
        if one.whole:
            write_atomically(tree / one.path, one.whole())
            if one.path.is_absolute():
                one.path.chmod(PROTECTED)
            say(f"{one.path}: repaired")
    except OSError as error:
        say(f"{one.path}: not repaired: {error}")


def _set_aside(tree: Path, path: Path) -> Path:
    """Move a file or folder of the tree to a free place in REPLACED; return that."""
    name = REPLACED / path
    names = chain([name], (name.with_name(f"{name.name}.{number}") for number in count(2)))
    place = next(one for one in names if not (tree / one).exists())
    (tree / place).parent.mkdir(parents=True, exist_ok=True)
    if (tree / path).is_symlink():  # into the cache, whose object may be removed
        shutil.copy2(tree / path, tree / place)
        (tree / path).unlink()
    else:
        (tree / path).rename(tree / place)
    return place


def _problem(path: Path, digest: str) -> str:
    """Return 'missing' or 'changed', or '' if the file has the digest."""
    if not path.is_file():
        return "changed" if path.exists() else "missing"
    return "" if md5(path) == digest.removesuffix(FOLDER) else "changed"
