"""How an error ends a program: one line and an exit code, wherever it was raised."""

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

from pipeline.harness import ranks
from pipeline.harness.errors import ExitCode
from pipeline.harness.lacks import ending, lack
from pipeline.harness.showing import in_lines

FIRST_WORD_SECONDS = 1.0
"""Delay in seconds before other ranks print, so that rank 0 reports first."""


@dataclass(frozen=True, slots=True)
class InOneLine:
    """A block in which an error ends the program with a line, unless it is a bug of ours.

    It takes errors of all classes, for libraries have many that say that memory is used up.

    where: what is named if an error of files names none; '' if such an error is a bug. words:
    function that makes the line safe to show.
    """

    where: str = ""
    words: Callable[[str], str] = in_lines

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the program if there is a line about the error."""
        if isinstance(error, Exception) and (told := ending(error, self.where)):
            line, code = told
            _end(self.words(line), code)


def end_imports_in_one_line() -> None:
    """Let a lack outside all blocks, such as of memory for an import, end in one line too."""
    with_traceback = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, Exception) and (line := lack(error)):
            _end(in_lines(line), ExitCode.EXHAUSTED)
        with_traceback(kind, error, trace)

    sys.excepthook = hook


def _end(line: str, code: int) -> None:
    """Print a line and exit; other ranks wait, because the end of rank 0 ends them silently."""
    if not ranks.is_first():
        time.sleep(FIRST_WORD_SECONDS)
    with suppress(OSError):  # the disk that is full may be that of the log
        sys.stderr.write(f"{line}\n")
        sys.stdout.flush()
    if code == ExitCode.EXHAUSTED:  # without memory, what Python does at exit fails line by line
        os._exit(code)
    sys.exit(code)
