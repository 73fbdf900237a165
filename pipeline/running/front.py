"""`aso-se run`: one `dvc repro` on this terminal, safe against kills and second runs."""

import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import NoReturn

from pipeline.console.interruption import SHOW_CURSOR
from pipeline.console.progress import say
from pipeline.harness.errors import ExitCode, RunError
from pipeline.harness.params_file import PARAMS_FILE, parse_params, read_text
from pipeline.harness.places import LOCK
from pipeline.locking.lock import hold, signature
from pipeline.params import Params
from pipeline.running.ahead import PREPARE, look_ahead
from pipeline.running.comparing import read_lock, strike_out_wrong
from pipeline.running.ending import last_lines
from pipeline.running.graph import require_clone
from pipeline.running.making_way import make_way
from pipeline.running.mending import mend
from pipeline.running.repro import Line, Repro, StoppedError
from pipeline.running.screen import Screen

Announce = Callable[[Path, Mapping[str, int], Event], None]
"""Function of a tree, the epochs already done of the stages that will run, and what stops it."""


def run_safely(tree: Path, targets: Sequence[str], *, force: bool, announce: Announce) -> int:
    """Bring a tree up to date with `dvc repro`; SIGINT and SIGTERM end all its processes.

    The images are prepared first, because how long the rest takes is measured on them.

    announce: function that says how long stages take.

    Returns:
        0, the exit code of the stage that failed, 75 if a signal ended it, else 1.

    Raises:
        RunError: `tree` is not a clone, or another run uses it.
        ParamsError: `params.yaml` has mistakes. The stage `check` says so too, but DVC first looks
            for `data.path`, and fails in words of its own if that is empty or an output.
    """
    require_clone(tree)
    parse_params(Params, read_text(tree / PARAMS_FILE), str(PARAMS_FILE), whole=True)
    stop = stopped_by_signals()
    with hold(tree / LOCK, signature("aso-se run"), waiting=refuse) as lock:
        for line in mend(tree):
            sys.stderr.write(f"{line}\n")
        began = time.monotonic()
        code = reproduce(tree, targets, force=force, announce=announce, lock=lock, stop=stop)
        if code == 0 and not targets:
            for line in last_lines(tree, time.monotonic() - began):
                say(line)
        return code


def refuse(other: str) -> NoReturn:
    """Raise RunError, because another run uses the tree."""
    raise RunError(f"this tree is in use by {other or 'another run'}; run it again afterwards")


def stopped_by_signals() -> Event:
    """Return an event that SIGINT and SIGTERM set from now on."""
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def reproduce(
    tree: Path,
    targets: Sequence[str] = (),
    *,
    force: bool = False,
    announce: Announce,
    lock: int | None = None,
    stop: Event,
) -> int:
    """Prepare the images, say how long the rest takes, and run that; return the exit code.

    lock: descriptor of a lock file, which DVC inherits. stop: event that ends the run.
    """
    make_way(tree)
    ahead = look_ahead(tree, targets, force=force, stop=stop)
    if ahead.prepares and (code := _repro(tree, PREPARE, lock=lock, stop=stop)):
        return code
    announce(tree, ahead.stages, stop)
    if stop.is_set():
        return ExitCode.INTERRUPTED
    return _repro(tree, *(["--force"] if force else []), *targets, lock=lock, stop=stop)


def _repro(tree: Path, *arguments: str, lock: int | None, stop: Event) -> int:
    """Run `dvc repro` on this terminal; return the exit code."""
    screen = Screen.open()
    signal.signal(signal.SIGWINCH, lambda *_: screen.resize())
    before = read_lock(tree)
    repro = Repro(tree, *arguments, lock=lock, stop=stop, stdout=screen.inside)
    code = _follow(repro, screen)
    wrong = strike_out_wrong(tree, before, repro.process)
    for line in wrong:
        sys.stderr.write(f"{line}\n")
    return code or (ExitCode.USER if wrong else ExitCode.DONE)


def _follow(repro: Repro, screen: Screen) -> int:
    """Show everything that DVC and its stages print; return the exit code."""
    with repro:
        screen.begin()
        try:
            for line in repro.lines():
                _show(line)
        except StoppedError:
            repro.end()
            _leave_progress_bar()
            for line in repro.last_lines():
                _show(line)
            screen.end()
            return ExitCode.INTERRUPTED
    screen.end()
    if repro.succeeded:
        return 0
    _leave_progress_bar()
    if repro.killed:
        sys.stderr.write("dvc: killed; run it again\n")
        return ExitCode.INTERRUPTED
    return max(repro.exit_code or 1, 1)


def _leave_progress_bar() -> None:
    """Move below the progress bar of an ended stage, and show the cursor that it hid."""
    if sys.stdout.isatty():
        sys.stdout.write(f"\n{SHOW_CURSOR}")
        sys.stdout.flush()


def _show(line: Line) -> None:
    sys.stderr.write(f"{line.text}\n")
    sys.stderr.flush()
