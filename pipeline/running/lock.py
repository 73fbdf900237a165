"""One run at a time: a lock that dies with whoever holds it.

A file lock, for it is freed by the kernel when its holder ends, however that happens; a lease on a
server outlives a killed process by minutes.
"""

import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path


def signature(name: str) -> str:
    """Return one line that tells others which run holds a lock."""
    since = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return f"{name} (pid {os.getpid()} on {socket.gethostname()}, since {since})"


@contextmanager
def hold(path: Path, holder: str, *, waiting: Callable[[str], None]) -> Iterator[int]:
    """Hold the lock of a file while the block runs; wait for it where another has it.

    Args:
        path: made if it is not there; never removed, for another may be waiting on it.
        holder: one line that tells a waiting run who has the lock; '' leaves the file as it is.
        waiting: is told, once, the holder that this run waits for.

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
    """Whether someone holds the lock of a file."""
    with path.open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
