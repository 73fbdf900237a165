"""The experiments of a clone, as DVC keeps them: a Git commit each, under refs/exps/.

They are read from Git, in any order and beside a run; nothing is checked out.
"""

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from pipeline.harness.errors import RunError
from pipeline.harness.params_file import PARAMS_FILE
from pipeline.running.experiments import git

REF = re.compile(r"refs/exps/(?P<start>[0-9a-f]{2})/(?P<rest>[0-9a-f]{38})/(?P<name>[^/]+)")
"""Name of the Git reference of an experiment; DVC has others under refs/exps/."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """An experiment. revision: its commit. baseline: commit that it was run on."""

    name: str
    revision: str
    baseline: str

    def read(self, tree: Path, path: PurePath) -> str:
        """Return the text of one of its files; raise RunError if it has no such file."""
        return git(tree, "show", f"{self.revision}:./{path}")

    def params(self, tree: Path) -> str:
        """Return the text of its `params.yaml`; errors as `read`."""
        return self.read(tree, PARAMS_FILE)

    def texts(self, tree: Path, name: str) -> dict[str, str]:
        """Return the texts of `artifacts/<stage>/<name>` by stage."""
        listed = git(tree, "ls-tree", "-r", "--name-only", self.revision, "artifacts/")
        paths = [PurePosixPath(path) for path in listed.splitlines()]
        return {path.parts[1]: self.read(tree, path) for path in paths if path.name == name}


def experiments(tree: Path) -> dict[str, Saved]:
    """Return all experiments by name, the oldest first.

    Of several with one name it is the one of HEAD, else the newest.

    Raises:
        RunError: `tree` is not in a Git repository.
    """
    head = git(tree, "rev-parse", "HEAD").strip()
    listed = git(
        tree, "for-each-ref", "--sort=creatordate", "--format=%(objectname) %(refname)", "refs/exps"
    )
    found: dict[str, Saved] = {}
    for line in listed.splitlines():
        revision, _, ref = line.partition(" ")
        if match := REF.fullmatch(ref):
            one = Saved(
                name=match["name"], revision=revision, baseline=match["start"] + match["rest"]
            )
            if one.name not in found or found[one.name].baseline != head:
                found[one.name] = one
    return found


def experiment(tree: Path, name: str) -> Saved:
    """Return an experiment.

    Raises:
        RunError: there is none of that name, or `tree` is not in a Git repository.
    """
    found = experiments(tree)
    require_known(name, found, "experiment")
    return found[name]


def require_known(name: str, known: Collection[str], kind: str) -> None:
    """Raise RunError, with what may be meant, unless a name is known."""
    if name in known:
        return
    close = difflib.get_close_matches(name, known, n=1)
    meant = f"did you mean '{close[0]}'?" if close else f"there are: {', '.join(known) or 'none'}"
    raise RunError(f"{name}: no such {kind}; {meant}")
