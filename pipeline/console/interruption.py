"""How signals end a stage: at once, with one line and an exit code of its own.

SIGTERM and SIGINT end the process immediately. Nothing has to be finished first: every file is
complete or absent, and every finished epoch left a resume point. No exception is raised, because
a library might swallow it and an import would show its traceback. A second signal does no harm.
This module needs only the standard library, so it takes effect before torch is imported.
"""

import ctypes
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType

from pipeline.harness import ranks
from pipeline.harness.errors import ExitCode

TOLD = signal.SIGUSR1
"""Signal that tells all ranks to end; no failure sends it, and it ends a rank that just began."""

SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux's <sys/prctl.h>
SHOW_CURSOR = "\x1b[?25h"
PATIENCE_SECONDS = 0.5
TOLD_SECONDS = 2.0
"""Seconds that a rank waits after SIGTERM for `TOLD`, which arrives if all ranks are to end."""


@dataclass(slots=True)
class Ending:
    """What SIGTERM and SIGINT do: print `line` and exit."""

    line: str

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        """End the process, whatever it is doing, and show the cursor, which a progress bar hides.

        number: the signal. A rank gets `TOLD` when all ranks are to end. It gets SIGTERM when
        another rank has failed, which reports that itself, or when all ranks got it at once.
        """
        ending = ranks.count() == 1 or number == TOLD
        if not ending:
            time.sleep(TOLD_SECONDS)  # if all ranks got it, TOLD follows and ends this one
        cursor = f"\n{SHOW_CURSOR}" if os.isatty(2) else ""
        if ending and ranks.is_first():
            with suppress(OSError):  # the reader of the log may be gone
                os.write(2, f"{cursor}{self.line}\n".encode())
        os._exit(ExitCode.INTERRUPTED)


ENDING = Ending("interrupted; run it again")
"""What signals do to this process, which runs one stage."""


def end_when_told(stage: str) -> None:
    """End this process from now on at a signal, or when DVC or the launcher of the ranks ends."""
    ENDING.line = f"{stage}: interrupted; run it again"
    for number in (signal.SIGTERM, signal.SIGINT, TOLD):
        signal.signal(number, ENDING)
    if ranks.count() > 1:
        # Python handles pending signals by number, lowest first: TOLD comes before SIGTERM.
        signal.signal(signal.SIGINT, lambda *_: signal.raise_signal(signal.SIGTERM))
    # A stage that was started by hand may outlive its shell (nohup).
    if {"DVC_STAGE", "ASO_SE_PARENT"} & os.environ.keys() or ranks.count() > 1:
        _end_with(os.getppid())


def if_interrupted(line: str) -> None:
    """Set the line that is printed when a signal ends the stage."""
    ENDING.line = line


def _end_with(parent: int) -> None:
    """End this process when its parent ends, even by kill -9, so that the next run is alone.

    The parent is DVC: `exec` in dvc.yaml replaces the shell that DVC starts by the stage. The
    parent of a rank is the launcher, that of a process that a stage starts is the stage.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    # If the parent has already ended, a process of another session has adopted this one.
    # (torchrun starts each of its processes in a session of its own.)
    adopted = ranks.count() == 1 and os.getsid(parent) != os.getsid(0)
    if os.getppid() != parent or adopted:
        os.kill(os.getpid(), signal.SIGTERM)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PATIENCE_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
