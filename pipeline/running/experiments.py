"""DVC experiments that never touch the working tree.

Each runs in a Git worktree of its own, which shares DVC's cache and the resume points. So nothing
is computed twice, several experiments can run at once, and the files that a person is editing stay
as they are.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from contextlib import contextmanager
from pathlib import Path

from pipeline.harness.errors import RunError
from pipeline.harness.files import make_folder, write_atomically
from pipeline.harness.params_file import PARAMS_FILE, parse_params
from pipeline.harness.places import MODELS, PROGRESS, RESUME, STATE, WORKTREES
from pipeline.locking.lock import hold, is_held
from pipeline.params import Params
from pipeline.running.redaction import hide
from pipeline.running.repro import POLL_SECONDS, bound_to_this, environment_of_dvc
from pipeline.running.results import copy_export

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
IDENTITY = ("-c", "user.name=aso-se", "-c", "user.email=aso-se@localhost")
"""Options of Git for a commit outside all branches, on machines where Git has no identity."""


def check_name(name: str) -> None:
    """Raise RunError if DVC does not accept the name of an experiment."""
    if not NAME.fullmatch(name):
        raise RunError(f"{name!r}: not a name for an experiment; use letters, digits, '-' and '_'")


def snapshot(tree: Path) -> str:
    """Return a commit of the tracked files as they are; files and index stay unchanged."""
    if git(tree, "diff", "--name-only", "HEAD"):
        return git(tree, *IDENTITY, "stash", "create").strip()
    return git(tree, "rev-parse", "HEAD").strip()


@contextmanager
def isolated(
    tree: Path,
    name: str,
    *,
    commit: str,
    params: str,
    waiting: Callable[[str], None],
    base: str = "HEAD",
) -> Iterator[Path]:
    """Yield a worktree of `tree` for an experiment; it is removed at the end of the block.

    Its files are those of `commit`, and `params.yaml` holds `params`. What stages note of their
    progress stays in a folder of `tree`. waiting: function that is called with the holder if
    another run has the name and this one waits. base: commit that the experiment is saved on.

    Raises:
        ParamsError: `params` are not valid.
    """
    named = parse_params(Params, params, str(PARAMS_FILE), whole=True)
    folder = tree / WORKTREES / name
    with hold(folder.with_name(f"{name}.lock"), name, waiting=waiting):
        with git_to_itself(tree):
            _sweep_up(tree, folder)
            git(tree, "worktree", "add", "--quiet", "--detach", str(folder), base)
        try:
            git(folder, "restore", "--source", commit, "--worktree", ".")
            write_atomically(folder / PARAMS_FILE, params.encode())
            _share_cache(tree, folder)
            _share_state(tree, folder)
            for path in filter(None, (named.data.path, named.optimize.teacher)):
                _link(tree / path, folder / path)
            yield folder
        finally:
            with git_to_itself(tree):
                _remove(tree, folder)


def save(tree: Path, folder: Path, name: str) -> str:
    """Save the contents of a worktree as a DVC experiment; return its revision."""
    with git_to_itself(tree):
        dvc(folder, "exp", "save", "--force", "--name", name)
        base = git(folder, "rev-parse", "HEAD").strip()
    return git(folder, "rev-parse", reference(name, base)).strip()


def reference(name: str, base: str) -> str:
    """Return the Git reference in which DVC keeps an experiment. base: hash of its base."""
    return f"refs/exps/{base[:2]}/{base[2:]}/{name}"


def keep_model(tree: Path, folder: Path, name: str) -> Path:
    """Copy a worktree's exported files to `.aso-se/experiments/<name>`; return the ONNX file."""
    kept = tree / MODELS / name
    copy_export(folder, kept)
    return kept / "model.onnx"


def dvc(tree: Path, *arguments: str, waiting: Callable[[], None] = lambda: None) -> str:
    """Run a DVC command, which dies with this process; return what it printed.

    waiting: function that is called several times a second; what it raises ends the command.

    Raises:
        RunError: it failed; the message is DVC's.
    """
    command = bound_to_this([sys.executable, "-m", "dvc", *arguments])
    return _call(tree, *command, waiting=waiting).strip()


def git(tree: Path, *arguments: str) -> str:
    """Run a Git command; return what it printed. Raises RunError with Git's message if it fails."""
    return _call(tree, "git", *arguments)


@contextmanager
def git_to_itself(tree: Path) -> Iterator[None]:
    """Hold a lock with which one experiment at a time uses Git, whose own locks do not wait."""
    with hold(tree / WORKTREES / "git.lock", "an experiment", waiting=lambda _: None):
        yield


def _call(folder: Path, *command: str, waiting: Callable[[], None] = lambda: None) -> str:
    with subprocess.Popen(  # noqa: S603 - our own commands, no shell
        command,
        cwd=folder,
        env=environment_of_dvc(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            output, errors = _communicate(child, waiting)
        finally:
            child.terminate()  # does nothing if it has ended
    if child.returncode != 0:
        shown = " ".join(command).rpartition(f"{sys.executable} -m ")[2]
        raise RunError(f"{shown}: {_reason(errors or output, child.returncode)}")
    return output


def _communicate(child: "subprocess.Popen[str]", waiting: Callable[[], None]) -> tuple[str, str]:
    """Return all that a process prints to stdout and to stderr; call `waiting` until it ends."""
    while True:
        try:
            return child.communicate(timeout=POLL_SECONDS)
        except subprocess.TimeoutExpired:
            waiting()


def _reason(printed: str, code: int) -> str:
    """Return the line that says why a command failed, without DVC's advice on where to get help."""
    lines = [line for line in printed.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("ERROR: ", "fatal: ", "error: "))]
    chosen = (errors or lines[-1:] or [f"exit code {code}"])[0]
    return hide(chosen.removeprefix("ERROR: "))


def _share_cache(tree: Path, folder: Path) -> None:
    """Give a worktree the tree's local settings of DVC, such as credentials, and its cache.

    Nobody may read them there who may not read the tree's.
    """
    settings = ConfigParser(interpolation=None)
    local = tree / ".dvc" / "config.local"
    settings.read(local, encoding="utf-8")
    settings.read_dict({"cache": {"dir": dvc(tree, "cache", "dir")}})
    written = folder / ".dvc" / local.name
    written.touch(mode=0o600)
    with written.open("w", encoding="utf-8") as file:
        settings.write(file)
    if local.exists():
        shutil.copymode(local, written)


def _share_state(tree: Path, folder: Path) -> None:
    """Let a worktree write its resume points and its progress where they outlive it."""
    (folder / STATE).mkdir()
    for place, shared in ((RESUME, RESUME), (PROGRESS, PROGRESS / folder.name)):
        make_folder(tree / shared)
        (folder / place).symlink_to(tree.absolute() / shared)


def _link(here: Path, there: Path) -> None:
    """Link a folder, a file or a folder's contents, if it is not there."""
    if there == here:  # an absolute path
        return
    if there.is_dir():
        for child in here.iterdir():
            if not (there / child.name).exists():
                (there / child.name).symlink_to(child)
    elif here.exists() and not there.exists():
        there.parent.mkdir(parents=True, exist_ok=True)
        there.symlink_to(here)


def _sweep_up(tree: Path, own: Path) -> None:
    """Remove worktrees left by killed runs: an old one of this run, and those not locked."""
    for lock in (tree / WORKTREES).glob("*.lock"):
        folder = lock.with_suffix("")
        # Where there are no locks, a worktree may be another run's.
        if folder.exists() and (folder == own or is_held(lock) is False):
            _remove(tree, folder)


def _remove(tree: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    git(tree, "worktree", "prune")
