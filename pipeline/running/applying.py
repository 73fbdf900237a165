"""`aso-se apply`: make an experiment's params and results those of the working tree."""

from pathlib import Path

from pipeline.console.progress import say
from pipeline.harness.errors import ExitCode
from pipeline.harness.params_file import PARAMS_FILE
from pipeline.harness.places import LOCK
from pipeline.locking.lock import hold, signature
from pipeline.running.experiments import dvc, git
from pipeline.running.front import refuse
from pipeline.running.graph import require_clone
from pipeline.running.params_file import use_params
from pipeline.running.recorded import DVC_LOCK
from pipeline.running.saved import experiment

RESULTS = (str(DVC_LOCK), "artifacts")
NOTES = ".dvc/tmp"
"""Folder of DVC's own notes, one of which it saves in an experiment."""
MOST = 3
"""Number of files that a message names."""


def apply(tree: Path, name: str) -> int:
    """Give a tree the params and results of an experiment, and return 0.

    Unlike `dvc exp apply` it leaves all other files, which may be newer than the experiment's.

    Raises:
        RunError: `tree` is not a clone or in use, there is no such experiment, or a result is no
            longer in DVC's cache.
    """
    require_clone(tree)
    chosen = experiment(tree, name)
    with hold(tree / LOCK, signature("aso-se apply"), waiting=refuse):
        if kept := use_params(tree, chosen.params(tree)):
            say(f"{kept.name}: copy of your own {PARAMS_FILE}")
        git(tree, "restore", "--source", chosen.revision, "--worktree", "--", *RESULTS)
        dvc(tree, "checkout", "--force")
    say(f"{PARAMS_FILE}, {' and '.join(RESULTS)}: now those of {name}")
    ours = [f":!{path}" for path in (PARAMS_FILE, *RESULTS, NOTES)]
    others = git(tree, "diff", "--name-only", chosen.revision, "--", ".", *ours).splitlines()
    if others:
        more = f" and {len(others) - MOST} more" if len(others) > MOST else ""
        say(f"{name} was run with other versions of {', '.join(others[:MOST])}{more}")
    say("next: aso-se status")
    return ExitCode.DONE
