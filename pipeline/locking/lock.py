"""A lock for one run at a time, which is freed when its holder ends.

It is a file lock, which the kernel frees however the holder ends; a lease on a server outlives a
killed process by minutes.
"""

import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path


def signature(name: str) -> str:
    """Return one line that identifies this run as the holder of a lock."""
    since = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return f"{name} (pid {os.getpid()} on {socket.gethostname()}, since {since})"


@contextmanager
def hold(path: Path, holder: str, *, waiting: Callable[[str], None]) -> Iterator[int]:
    """Hold the lock of a file while the block runs; wait if another process holds it.

    Args:
        path: lock file; created if missing, never removed, because another may wait for it.
        holder: one line that tells a waiting run who has the lock; '' leaves the file as it is.
        waiting: function that is called once with the holder if this run has to wait.

    Yields:
        The descriptor of the file: a child that inherits it holds the lock too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            waiting(file.read().strip())
            fcntl.flock(file, fcntl.LOCK_EX)
        if holder:
            file.truncate(0)
            file.write(holder)
            file.flush()
        yield file.fileno()


def is_held(path: Path) -> bool:
    """Whether any process holds the lock of a file."""
    with path.open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
