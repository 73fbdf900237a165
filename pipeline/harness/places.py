"""Where the project keeps all files that are not artifacts: one folder that Git ignores."""

import os
import shutil
from pathlib import Path

STATE = Path(".aso-se")
"""That folder, in a working tree."""
PROGRESS = STATE / "progress"
"""Folder with a table of the epochs of each stage; nothing depends on it."""
RESUME = STATE / "resume"
"""Folder of the resume points; ASO_SE_RESUME overrides it."""
LOCK = STATE / "lock"
"""Lock file of the tree, held by the program that runs DVC and by that DVC."""
DAMAGED = STATE / "dvc.lock.damaged"
WORKTREES = STATE / "worktrees"
"""Folder of the worktrees of running experiments."""
MODELS = STATE / "experiments"
"""Folder of the models that experiments exported."""
SWEEPS = STATE / "sweeps"
"""Folder of the locks of sweeps."""
STUDIES = STATE / "sweeps.db"
"""File of the Optuna studies (SQLite)."""
KEPT_RUNS = 8
"""Number of folders of resume points kept per stage, for abandoned runs and running experiments."""


def resume_folder(stage: str, key: str) -> Path:
    """Return the folder of what a killed run of a stage goes on from; remove the oldest others.

    key: of all that the result depends on.
    """
    root = _root()
    folder = root / f"{stage}-{key}"
    others = [path for path in root.glob(f"{stage}-*") if path != folder]
    for old in sorted(others, key=lambda path: path.stat().st_mtime)[: -KEPT_RUNS + 1]:
        shutil.rmtree(old, ignore_errors=True)
    return folder


def _root() -> Path:
    """Return the folder of all points, which outlives the current directory of an experiment."""
    if named := os.environ.get("ASO_SE_RESUME"):
        return Path(named)
    return Path(os.environ.get("DVC_ROOT", ".")) / RESUME
