"""How a stage is ended from outside: at once, with one line and an exit code of its own.

SIGTERM and SIGINT end the process where it stands. Nothing has to be finished first: files are
whole or not there, and every epoch that ended left a resume point. So there is no exception, which
a library might swallow and an import would show as a traceback, and a second signal finds nothing
to disturb. Nothing here needs anything but Python: it is in force before torch is imported.
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
"""Tells several processes to end: no failure sends it, and it ends one that has just begun."""

SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux's <sys/prctl.h>
SHOW_CURSOR = "\x1b[?25h"
PATIENCE_SECONDS = 0.5
TOLD_SECONDS = 2.0
"""In which one of several processes is told to end, if all are."""


@dataclass(slots=True)
class Ending:
    """What SIGTERM and SIGINT do: say `line` and exit."""

    line: str

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        """End the process, whatever it is doing; a progress bar has hidden the cursor.

        number: of the signal. One of several processes is told by `TOLD` that all shall end. It
        gets SIGTERM when another has failed, which says so itself, or when all got it at once.
        """
        ending = ranks.count() == 1 or number == TOLD
        if not ending:
            time.sleep(TOLD_SECONDS)  # if all got it, TOLD follows and ends this
        cursor = f"\n{SHOW_CURSOR}" if os.isatty(2) else ""
        if ending and ranks.is_first():
            with suppress(OSError):  # whoever read the log may be gone
                os.write(2, f"{cursor}{self.line}\n".encode())
        os._exit(ExitCode.INTERRUPTED)


ENDING = Ending("interrupted; run it again")
"""What signals do to this process, which is one stage."""


def end_when_told(stage: str) -> None:
    """Let signals end this process from now on; also the end of DVC, or of what began several."""
    ENDING.line = f"{stage}: interrupted; run it again"
    for number in (signal.SIGTERM, signal.SIGINT, TOLD):
        signal.signal(number, ENDING)
    if ranks.count() > 1:
        # Of signals that wait Python takes the lowest number first: TOLD comes before SIGTERM.
        signal.signal(signal.SIGINT, lambda *_: signal.raise_signal(signal.SIGTERM))
    # By hand a stage outlives the shell that began it, if nohup says so.
    if "DVC_STAGE" in os.environ or ranks.count() > 1:
        _end_with(os.getppid())


def if_interrupted(line: str) -> None:
    """Say this from now on when a signal ends the stage."""
    ENDING.line = line


def _end_with(parent: int) -> None:
    """End this process when its parent ends, by kill -9 too, for the next run shall be alone.

    The parent is DVC: the shell that it starts has become the stage by `exec` in dvc.yaml. Of one
    of several processes it is what began them.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    # The parent may have ended before: then another process, of another session, has adopted us.
    # (torchrun starts each of its processes in a session of its own.)
    adopted = ranks.count() == 1 and os.getsid(parent) != os.getsid(0)
    if os.getppid() != parent or adopted:
        os.kill(os.getpid(), signal.SIGTERM)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PATIENCE_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
