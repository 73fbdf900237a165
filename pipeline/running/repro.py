"""A running `dvc repro`: its output, its current stage, and how to end it.

DVC runs as a command in a process group of its own. It decides what runs; this reads its lines.
"""

import logging
import os
import queue
import re
import selectors
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from pipeline.harness.errors import RunError
from pipeline.harness.places import WRITTEN
from pipeline.harness.showing import in_lines
from pipeline.running.redaction import hide

Fate = Literal["ran", "cached", "restored"]

HEADERS: dict[Fate, re.Pattern[str]] = {
    "ran": re.compile(r"^Running stage '([^']+)':$"),
    "cached": re.compile(r"^Stage '([^']+)' didn't change, skipping$"),
    "restored": re.compile(r"^Stage '([^']+)' is cached - skipping run, checking out outputs$"),
}
"""Patterns of the line with which DVC 3 begins a stage."""
EXIT_CODE = re.compile(r"^ERROR: failed to reproduce .* exited with (-?\d+)$")
SITE_CACHE = Path(".dvc/tmp/site-cache")
END = -1
POLL_SECONDS = 0.2
GRACE_SECONDS = 7.0
"""Time in seconds that a stage has to write its resume point and end."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of output. level: level of `logging`. moment: its arrival, by `time.monotonic`."""

    text: str
    level: int
    moment: float


@dataclass(frozen=True, slots=True)
class Observed:
    """A stage that DVC has reached: it runs, did not change, or is restored from the run cache.

    began: its start, by `time.monotonic`.
    """

    name: str
    fate: Fate
    began: float


class OverTimeError(RunError):
    """A stage exceeded its time limit."""


class StoppedError(RunError):
    """The run was stopped from outside."""


class Repro:
    """A `dvc repro` in `tree`; ended, with all its children, at the end of the block.

    stage: current stage; None before the first and after the last.
    exit_code: exit code of the stage that failed, as DVC reports it; None if none did.
    moment: arrival of the last line that was yielded, or the end of DVC, by `time.monotonic`.
    """

    def __init__(
        self,
        tree: Path,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        lock: int | None = None,
        stop: threading.Event | None = None,
        stdout: int = subprocess.PIPE,
    ) -> None:
        """Prepare to run `dvc repro` with `arguments`; `start` starts it.

        environment: variables added to this process's environment. lock: descriptor of a lock file,
        which the child inherits and so holds as long as it lives. stop: event that ends the run.
        stdout: descriptor for stdout, for example of a terminal with progress bars; then only
        stderr is read, and `stage` stays None.
        """
        self.tree = tree
        self.stage: Observed | None = None
        self.exit_code: int | None = None
        self.moment = time.monotonic()
        self.deadline = float("inf")
        self._command = [sys.executable, "-m", "dvc", "repro", *arguments]
        self._environment = environment_of_dvc(tree, environment or {})
        self._lock = () if lock is None else (lock,)
        self._stop = stop or threading.Event()
        self._stdout = stdout

    def __enter__(self) -> Self:
        """Start DVC."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all processes that still run."""
        self.end()

    def start(self) -> None:
        """Start DVC, or start it again if it has ended; the first lines belong to no stage."""
        self.stage, self.exit_code = None, None
        # What stages of an earlier DVC wrote; this one may get the same process number.
        shutil.rmtree(self.tree / WRITTEN, ignore_errors=True)
        self._process = subprocess.Popen(  # noqa: S603 - our own command, no shell
            bound_to_this(self._command),
            cwd=self.tree,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=self._stdout,
            stderr=subprocess.PIPE,
            process_group=0,
            pass_fds=self._lock,
        )
        self._arrived: queue.Queue[Line] = queue.Queue()
        self._reader = threading.Thread(
            target=_read_pipes, args=(self._process, self._arrived), daemon=True
        )
        self._reader.start()
        self._lines = self._read()

    @property
    def process(self) -> int:
        """Number of the process of DVC."""
        return self._process.pid

    @property
    def succeeded(self) -> bool:
        """Whether DVC has ended with success."""
        return self._process.returncode == 0

    @property
    def killed(self) -> bool:
        """Whether a signal ended DVC itself."""
        return (self._process.returncode or 0) < 0

    @property
    def ended(self) -> bool:
        """Whether DVC has ended."""
        return self._process.returncode is not None

    def lines(self) -> Iterator[Line]:
        """Yield the lines of the current stage; then `stage` is the next one, or None at the end.

        Raises:
            OverTimeError: `deadline`, by `time.monotonic`, has passed.
            StoppedError: the run was stopped from outside.
        """
        self.stage = None
        for line in self._lines:
            if found := EXIT_CODE.match(line.text):
                self.exit_code = int(found[1])
            for fate, header in HEADERS.items():
                if found := header.match(line.text):
                    self.stage = Observed(found[1], fate, line.moment)
                    return
            if line.text:
                yield line

    def last_lines(self) -> Iterator[Line]:
        """Yield the lines that came after `lines` was left, once all processes have ended."""
        while not self._arrived.empty():
            if (line := self._arrived.get()).text:
                yield line

    def end(self) -> None:
        """End DVC and its stage: first ask, so that the resume point is kept, then kill.

        DVC ignores SIGINT while a stage runs and does not forward it, so the whole group is
        signalled.
        """
        for number, seconds in (
            (signal.SIGINT, GRACE_SECONDS),
            (signal.SIGTERM, 1.0),
            (signal.SIGKILL, 1.0),
        ):
            if not self._alive():
                break
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            until = time.monotonic() + seconds
            while self._alive() and time.monotonic() < until:
                time.sleep(0.05)
        self._reader.join()

    def _alive(self) -> bool:
        """Whether any process of the group is alive; a stage may outlive DVC."""
        self._process.poll()
        try:
            os.killpg(self._process.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def _read(self) -> Iterator[Line]:
        """Yield lines in the order in which they were written."""
        while True:
            with suppress(queue.Empty):
                line = self._arrived.get(timeout=POLL_SECONDS)
                self.moment = line.moment
                if line.level == END:
                    break
                yield line
            self._check()
        self._process.wait()

    def _check(self) -> None:
        if self._stop.is_set():
            raise StoppedError("the run was stopped")
        if time.monotonic() > self.deadline:
            raise OverTimeError("the stage exceeded its time limit")


def bound_to_this(command: list[str]) -> list[str]:
    """Return a command that runs `command` and dies with this process."""
    return [sys.executable, str(Path(__file__).with_name("bound.py")), str(os.getpid()), *command]


def environment_of_dvc(tree: Path, added: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment in which DVC finds this interpreter and output is not buffered.

    DVC keeps hashes and links of a tree in pickles, by default in a folder that all users of the
    machine can write; here they are in the tree. Without them, DVC only hashes again.
    """
    here = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": f"{here}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONUNBUFFERED": "1",
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": os.environ.get(
            "DVC_SITE_CACHE_DIR", str(tree.absolute() / SITE_CACHE)
        ),
        **(added or {}),
    }


def _read_pipes(process: "subprocess.Popen[bytes]", arrived: "queue.Queue[Line]") -> None:
    """Put the lines of the pipes into a queue as they arrive, and one of level END at the end.

    This runs in a thread, because the consumer may be slow, and the order of lines on the two pipes
    would be lost.
    """
    rests = {pipe: b"" for pipe in (process.stdout, process.stderr) if pipe}
    with ExitStack() as stack:
        stack.callback(lambda: arrived.put(Line("", END, time.monotonic())))  # else all wait on
        selector = stack.enter_context(selectors.DefaultSelector())
        for pipe in rests:
            selector.register(stack.enter_context(pipe), selectors.EVENT_READ)
        while selector.get_map():
            ready = {key.fileobj for key, _ in selector.select()}
            for pipe in [pipe for pipe in rests if pipe in ready]:
                chunk = os.read(pipe.fileno(), 1 << 16)
                *whole, rests[pipe] = (rests[pipe] + chunk).split(b"\n")
                if not chunk:
                    selector.unregister(pipe)
                    whole += [rests[pipe]]
                for text in whole:
                    arrived.put(_line(text, is_error=pipe is process.stderr))


def _line(text: bytes, *, is_error: bool) -> Line:
    told = hide(in_lines(text.decode(errors="replace").rstrip()))
    if told.startswith("ERROR"):
        level = logging.ERROR
    else:
        level = logging.WARNING if is_error else logging.INFO
    return Line(told, level, time.monotonic())
