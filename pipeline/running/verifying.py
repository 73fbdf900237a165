"""`aso-se verify`: check that every byte of the artifacts is as `dvc.lock` records it.

DVC trusts a file of the same size and time, and a write-protected object of its cache. So it finds
bit rot in neither; this hashes both.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from pipeline.console.progress import say
from pipeline.harness.errors import RunError
from pipeline.harness.files import write_atomically
from pipeline.harness.places import LOCK
from pipeline.locking.lock import hold, signature
from pipeline.running.experiments import dvc
from pipeline.running.front import refuse, require_clone
from pipeline.running.graph import kept_by_git
from pipeline.running.recorded import FOLDER, read_outputs
from pipeline.running.remote import default_remote, fetched

PROTECTED = 0o444
"""Mode of the objects of DVC's cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A file or an object of DVC's cache that is not as recorded.

    output: path in `dvc.lock` that it belongs to. wrong: paths of what has to be removed. whole:
    function that returns the right content of an object of the cache, if the tree has it.
    """

    path: Path
    problem: str
    output: str
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
            before, (files, found) = found, _repaired(tree, found)
            left = {one.path for one in found}
            for one in before:
                if one.path not in left:
                    say(f"{one.path}: repaired")
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
    found: list[Difference] = []
    count = 0
    for output, digest in outputs.items():
        listed = objects / digest[:2] / digest[2:]
        if digest.endswith(FOLDER) and (problem := _problem(listed, digest)):
            again = _list_of(tree / output)
            count += len(json.loads(again))
            is_whole = hashlib.md5(again, usedforsecurity=False).hexdigest() + FOLDER == digest
            found += _compare_list(tree, output, listed, problem, again if is_whole else b"")
            continue
        for path, one in _files(output, digest, listed):
            count += 1
            found += _compare(tree, path, one, objects / one[:2] / one[2:], output)
    return count, found


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
        for output, digest in outputs.items():
            files = _files(output, digest, objects / digest[:2] / digest[2:])
            wanted |= {str(path): one for path, one in files}
        if not objects.exists():
            say(
                f"nothing that dvc.lock records is in the remote '{name}', or it does not answer;"
                " 'dvc push' pushes it"
            )
            return 1
        for told, digest in wanted.items():
            place = Path(digest[:2]) / digest[2:]
            if problem := _problem(objects / place, digest):
                there = f", as files/md5/{place}" if problem == "changed" else ""
                lines.append(f"{told}: {problem} in the remote '{name}'{there}")
    for line in lines:
        say(line)
    if lines:
        say("\nTo push them again: remove what has changed there, then 'dvc push'")
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
    entries = [{"md5": _md5(one), "relpath": one.relative_to(folder).as_posix()} for one in files]
    return json.dumps(sorted(entries, key=itemgetter("relpath"))).encode()


def _compare_list(
    tree: Path, output: str, listed: Path, problem: str, again: bytes
) -> Iterator[Difference]:
    """Yield what is wrong with a folder whose list is. again: the right list, if the tree has it.

    As with files, it does no harm if the cache merely lacks the list.
    """
    if not (again and problem == "missing"):
        wrong = (listed,) if again else (tree / output, listed)
        yield Difference(
            path=listed,
            problem=f"{problem}: the list of files in {output}",
            output=output,
            wrong=tuple(path for path in wrong if path.exists()),
            whole=(lambda: again) if again else None,
        )


def _compare(
    tree: Path, path: Path, digest: str, cached: Path, output: str
) -> Iterator[Difference]:
    """Yield what is wrong with a file, and with its object in the cache if it has one."""
    if problem := _problem(tree / path, digest):
        wrong = () if problem == "missing" else (tree / path,)
        yield Difference(path=path, problem=problem, output=output, wrong=wrong)
    if _problem(cached, digest) == "changed":
        yield Difference(
            path=cached,
            problem=f"changed: the copy of {path} in DVC's cache",
            output=output,
            wrong=(cached,),
            whole=None if problem else (tree / path).read_bytes,
        )


def _repaired(tree: Path, found: Sequence[Difference]) -> tuple[int, list[Difference]]:
    """Put right what the tree or DVC's cache still has; return what `verify` then says.

    What neither has is removed, so that a run makes it again.
    """
    for one in found:
        _remove(one.wrong)
        if one.whole:
            write_atomically(one.path, one.whole())
            one.path.chmod(PROTECTED)
    with suppress(RunError):  # the cache has not all of them: what is left is told
        dvc(tree, "checkout", *dict.fromkeys(one.output for one in found))
    return verify(tree)


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _problem(path: Path, digest: str) -> str:
    """Return 'missing' or 'changed', or '' if the file has the digest."""
    if not path.is_file():
        return "changed" if path.exists() else "missing"
    return "" if _md5(path) == digest.removesuffix(FOLDER) else "changed"


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
