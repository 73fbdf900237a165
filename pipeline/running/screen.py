"""The output of DVC and its stages on this terminal or log, without DVC's advice at the end."""

import fcntl
import os
import pty
import sys
import termios
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

ADVICE = (
    b"To track the changes with git, run:",
    b"\tgit add ",
    b"To enable auto staging, run:",
    b"\tdvc config core.autostage true",
    b"Use `dvc push` to send your updates to remote storage.",
)
"""Beginnings of the last lines of DVC 3; `aso-se run` prints its own last lines instead."""
CHUNK = 1 << 16


@dataclass(slots=True)
class Advice:
    """A filter of bytes that removes the lines of ADVICE and the empty lines before them.

    at_once: whether parts of a line are shown as they arrive, which progress bars need; else only
    complete lines are shown, so that stderr cannot split them. held: bytes not shown yet. begun:
    whether a part of the current line has been shown.
    """

    at_once: bool
    held: bytes = b""
    begun: bool = False

    def pass_on(self, chunk: bytes) -> bytes:
        """Return the bytes that can be shown now."""
        lines = (self.held + chunk).splitlines(keepends=True)
        shown, self.held = b"", b""
        for line in lines:
            text, whole = line.rstrip(b"\r\n"), line.endswith(b"\n")
            if not whole and not self.at_once:
                self.held += line
            elif self.begun or (text and not _may_be_advice(text, whole=whole)):
                shown, self.held, self.begun = shown + self.held + line, b"", not whole
            elif text and whole:
                self.held = b""
            else:
                self.held += line
        return shown


def _may_be_advice(text: bytes, *, whole: bool) -> bool:
    begins = any(text.startswith(one) for one in ADVICE)
    return begins or (not whole and any(one.startswith(text) for one in ADVICE))


@dataclass(slots=True)
class Screen:
    """The stdout of a child, copied to this process's; a terminal if this process has one.

    inside: descriptor of the child's end. outside: descriptor of this process's end.
    """

    inside: int
    outside: int
    _reader: threading.Thread = field(init=False)

    @classmethod
    def open(cls) -> Self:
        """Open a terminal as wide as this one, or a pipe if there is none."""
        if not sys.stdout.isatty():
            outside, inside = os.pipe()
            return cls(inside, outside)
        outside, inside = pty.openpty()
        mode = termios.tcgetattr(inside)
        mode[1] &= ~termios.OPOST  # the outer terminal translates the ends of lines
        termios.tcsetattr(inside, termios.TCSANOW, mode)
        screen = cls(inside, outside)
        screen.resize()
        return screen

    def resize(self) -> None:
        """Give the child's terminal the size of this one."""
        with suppress(OSError):
            size = fcntl.ioctl(sys.stdout.fileno(), termios.TIOCGWINSZ, bytes(8))
            fcntl.ioctl(self.outside, termios.TIOCSWINSZ, size)

    def begin(self) -> None:
        """Start to show the output; the child has opened its end by now."""
        os.close(self.inside)
        self._reader = threading.Thread(target=self._show, daemon=True)
        self._reader.start()

    def end(self) -> None:
        """Wait until everything has been shown; the child and its children have ended."""
        self._reader.join()

    def _show(self) -> None:
        """Show the output until it ends, or until nobody reads what is shown."""
        advice = Advice(at_once=os.isatty(self.outside))
        try:
            while chunk := self._read():
                sys.stdout.buffer.write(advice.pass_on(chunk))
                sys.stdout.buffer.flush()
            sys.stdout.buffer.write(advice.held.strip(b"\r\n"))
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            pass  # closing our end tells the child
        finally:
            os.close(self.outside)

    def _read(self) -> bytes:
        try:
            return os.read(self.outside, CHUNK)
        except OSError:  # how a terminal reports that nobody writes to it any more
            return b""
