"""Repair the files that a killed DVC leaves in a tree, so that the next run simply works.

DVC 3 writes some of its own files in place. A kill during the write leaves a partial file, at which
every later `dvc repro` fails:

- `.dvc/tmp/rwlock`, JSON with the process that runs a stage. A killed process stays in it; DVC
  notices, unless another process or a zombie now has its number.
- `.dvc/tmp/lock`, if DVC is told to lock by hard links: it outlives its holder by a year.
- `dvc.lock`. DVC finds whatever was recorded since the last commit again in its run cache.
- its databases of hashes and links, which survive kills but not a full disk or a power cut.

The outputs and the cache need no repair: DVC renames complete files into place, and it restores or
recomputes whatever is missing or changed.
"""

import json
import shutil
import socket
import sqlite3
import subprocess
from contextlib import closing, nullcontext, suppress
from itertools import chain
from pathlib import Path

import psutil

from pipeline.harness.errors import RunError
from pipeline.harness.files import write_atomically
from pipeline.harness.places import DAMAGED
from pipeline.locking.lock import hold, is_held
from pipeline.running.recorded import DVC_LOCK, read_outputs
from pipeline.running.repro import SITE_CACHE

DVC_STATE = Path(".dvc/tmp")


class _BusyError(Exception):
    """Another DVC command is running."""


def mend(tree: Path) -> list[str]:
    """Repair what can be repaired; return a line about each file. The caller holds the tree's LOCK.

    Raises:
        RunError: a DVC that this project did not start runs a stage here; or `dvc.lock` has a merge
            conflict, which only a person can resolve.
    """
    if not (tree / ".dvc").is_dir():
        return []
    _require_no_conflict(tree)
    lock = tree / DVC_STATE / "lock"
    # While another command holds DVC's own lock, a file that looks broken may be half written. It
    # is not created here: where DVC locks by hard links, a file that exists is a lock.
    held = hold(lock, "", waiting=_leave) if lock.exists() else nullcontext()
    with suppress(_BusyError), held:
        unlocked = _mend_hard_link(tree)
        return [*unlocked, *_mend_rwlock(tree), *_mend_databases(tree), *_mend_dvc_lock(tree)]
    return []


def _leave(_: str) -> None:
    raise _BusyError


def _mend_hard_link(tree: Path) -> list[str]:
    """Remove DVC's lock if it is one by hard link, of a process of this machine that is gone.

    Raises:
        _BusyError: the process is alive, or of another machine.
    """
    path = tree / DVC_STATE / "lock"
    # flufl.lock writes path|host|pid|number; a file lock writes a number at most.
    words = path.read_text(encoding="utf-8").split("|") if path.exists() else []
    if len(words) < 3:
        if words and is_held(path) is None:  # left by a DVC that tried a file lock here
            path.unlink()
        return []
    _, host, pid, *_ = words
    if host != socket.gethostname() or _is_dvc(int(pid)):
        raise _BusyError
    path.unlink()
    return [f"{path.relative_to(tree)}: of a run that was killed; removed"]


def _require_no_conflict(tree: Path) -> None:
    path = tree / DVC_LOCK
    if path.is_file() and b"\n<<<<<<< " in b"\n" + path.read_bytes():
        raise RunError(
            f"{DVC_LOCK}: merge conflict; run 'git checkout --ours {DVC_LOCK}' (or --theirs),"
            " then 'aso-se run', which runs every stage that does not match"
        )


def _mend_rwlock(tree: Path) -> list[str]:
    """Remove the file if it is broken or names only processes that are gone.

    While DVC runs a stage, the entries of this file are its only lock.
    """
    path = tree / DVC_STATE / "rwlock"
    if not path.exists():
        return []
    try:
        held = json.loads(path.read_bytes())
        owners = [*held.get("write", {}).values(), *chain(*held.get("read", {}).values())]
        alive = [owner for owner in owners if _is_dvc(owner["pid"])]
    except (ValueError, LookupError, TypeError, AttributeError):
        path.unlink()
        return [f"{path.relative_to(tree)}: damaged by a kill; removed"]
    if alive:
        raise RunError(
            f"another DVC (pid {alive[0]['pid']}: {alive[0]['cmd']}) runs a stage here;"
            " wait until it has ended, then run this again"
        )
    path.unlink()
    return [f"{path.relative_to(tree)}: names a run that was killed; removed"] if owners else []


def _is_dvc(pid: int) -> bool:
    """Whether a process is alive, not a zombie, and not another one with the same number."""
    try:
        return any("dvc" in word for word in psutil.Process(pid).cmdline())
    except psutil.Error:
        return False


def _mend_databases(tree: Path) -> list[str]:
    if all(map(_is_sound, (tree / SITE_CACHE).rglob("*.db"))):
        return []
    shutil.rmtree(tree / SITE_CACHE)
    return [f"{SITE_CACHE}: damaged; removed, DVC hashes the files once more"]


def _is_sound(database: Path) -> bool:
    try:
        with closing(sqlite3.connect(database)) as connection:
            return list(connection.execute("PRAGMA quick_check")) == [("ok",)]
    except sqlite3.DatabaseError:
        return False


def _mend_dvc_lock(tree: Path) -> list[str]:
    path = tree / DVC_LOCK
    if not path.exists() or _is_whole(tree):
        return []
    write_atomically(tree / DAMAGED, path.read_bytes())
    command = ["git", "show", f"HEAD:./{DVC_LOCK}"]
    committed = subprocess.run(command, cwd=tree, capture_output=True, check=False)  # noqa: S603
    write_atomically(path, committed.stdout)
    if _is_whole(tree):
        return [f"{DVC_LOCK}: damaged; now as committed, the damaged one is {DAMAGED}"]
    path.unlink()
    return [f"{DVC_LOCK}: damaged, and not committed; moved to {DAMAGED}"]


def _is_whole(tree: Path) -> bool:
    try:
        read_outputs(tree)
    except RunError:
        return False
    return True
