"""Where the project keeps all files that are not artifacts: one folder that Git ignores."""

from pathlib import Path

STATE = Path(".aso-se")
"""That folder, in a working tree."""
PROGRESS = STATE / "progress"
"""Folder with a table of the epochs of each stage; nothing depends on it."""
RESUME = STATE / "resume"
"""Folder of the resume points; ASO_SE_RESUME overrides it."""
SCRATCH = STATE / "scratch"
"""Folder of what a stage keeps on disk while it works; removed when it has ended."""
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
