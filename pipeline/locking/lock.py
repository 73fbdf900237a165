"""A lock for one run at a time, which is freed when its holder ends.

It is a file lock, which the kernel frees however the holder ends; a lease on a server outlives a
killed process by minutes. Some file systems have none (NFS without a lock server, some of FUSE).
There a run goes on without, and says so: nothing else tells a holder that lives from a dead one.
DVC locks in the same way, but can lock by hard links, if told to.
"""

import errno
import fcntl
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import IO

from pipeline.harness.files import make_folder

NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
"""Numbers of the errors of a file system that has no locks."""


def signature(name: str) -> str:
    """Return one line that identifies this run as the holder of a lock."""
    since = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return f"{name} (pid {os.getpid()} on {socket.gethostname()}, since {since})"


@contextmanager
def hold(path: Path, holder: str, *, waiting: Callable[[str], None]) -> Iterator[int]:
    """Hold the lock of a file while the block runs; wait if another process holds it.

    On a file system without locks it holds nothing, and one line on stderr says so.

    Args:
        path: lock file; created if missing, never removed, because another may wait for it.
        holder: one line that tells a waiting run who has the lock; '' leaves the file as it is.
        waiting: function that is called once with the holder if this run has to wait.

    Yields:
        The descriptor of the file: a child that inherits it holds the lock too.
    """
    make_folder(path.parent)
    with path.open("a+", encoding="utf-8") as file:
        free = _lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if free is None:
            _say_once(
                f"{path}: this file system has no locks, so start no second run here; if DVC cannot"
                " acquire its own, run 'dvc config --local core.hardlink_lock true'"
            )
        elif not free:
            file.seek(0)
            waiting(file.read().strip())
            fcntl.flock(file, fcntl.LOCK_EX)
        if holder:
            file.truncate(0)
            file.write(holder)
            file.flush()
        yield file.fileno()


def is_held(path: Path) -> bool | None:
    """Whether any process holds the lock of a file; None where a file system has no locks."""
    with path.open(encoding="utf-8") as file:  # a shared lock needs no right to write
        free = _lock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return None if free is None else not free


def _lock(file: IO[str], how: int) -> bool | None:
    """Whether a file could be locked at once; None where there are no locks."""
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in NO_LOCKS:
            return None
        raise
    return True


@cache
def _say_once(line: str) -> None:
    """Write a line to stderr; `hold` is below everything that knows terminals and ranks."""
    sys.stderr.write(f"{line}\n")
