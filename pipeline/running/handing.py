"""The files of a sweep on their way to workers in other clones: by the Git remote `origin`.

A commit outside all branches is pushed there, under a reference of the sweep, so that uncommitted
edits of tracked files count on all workers.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.harness.errors import RunError
from pipeline.running.experiments import git, git_to_itself, snapshot

ORIGIN = "origin"
REFERENCES = "refs/aso-se/sweeps"
HASH = re.compile(r"[0-9a-f]{40,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The files of a sweep. commit: hash of the commit that has them. base: hash of the HEAD.

    reference: Git reference of the commit on `origin`.
    """

    commit: str
    base: str
    reference: str

    def __post_init__(self) -> None:
        """Raise ValueError unless these are what they say: they become arguments of Git."""
        hashes = HASH.fullmatch(self.commit) and HASH.fullmatch(self.base)
        if not hashes or not self.reference.startswith(f"{REFERENCES}/"):
            raise ValueError("files: expected two hashes, and a reference of a sweep")


@contextmanager
def handed_out(tree: Path, name: str) -> Iterator[Files]:
    """Have the tracked files of a tree, as they are, on `origin` while the block runs.

    Raises:
        RunError: there is no `origin`, or it does not take them.
    """
    require_origin(tree)
    base = git(tree, "rev-parse", "HEAD").strip()
    files = Files(commit=snapshot(tree), base=base, reference=f"{REFERENCES}/{name}")
    _push(tree, f"+{files.commit}:{files.reference}")
    try:
        yield files
    finally:
        with suppress(RunError):  # the next sweep of that name replaces it
            _push(tree, f":{files.reference}")


def require_origin(tree: Path) -> None:
    """Raise RunError if the tree has no Git remote `origin`."""
    try:
        git(tree, "remote", "get-url", ORIGIN)
    except RunError:
        raise RunError(
            f"{tree}: has no Git remote '{ORIGIN}', by which workers get the files of a sweep;"
            f" 'git remote add {ORIGIN} URL' with the URL of their clones"
        ) from None


def take_in(tree: Path, files: Files) -> str:
    """Fetch the files of a sweep from `origin` into another clone; return what Git printed.

    Raises:
        RunError: `origin` does not have them: the sweep has ended.
    """
    with git_to_itself(tree):
        return git(tree, "fetch", "--quiet", "--no-tags", ORIGIN, files.reference)


def _push(tree: Path, what: str) -> None:
    try:
        git(tree, "push", "--quiet", "--no-verify", ORIGIN, what)
    except RunError as error:
        raise RunError(
            f"{error}; the Git remote '{ORIGIN}' must take {REFERENCES}/* from this clone: see"
            f" 'git remote get-url {ORIGIN}' and your right to push there"
        ) from None
