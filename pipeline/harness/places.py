"""Where the project keeps what is no artifact: all of it in one folder that Git ignores."""

from pathlib import Path

STATE = Path(".aso-se")
"""The folder, in a working tree."""
PROGRESS = STATE / "progress"
"""Folder with a table of the epochs of each stage; nothing depends on it."""
RESUME = STATE / "resume"
"""Folder of the resume points; ASO_SE_RESUME names another one."""
LOCK = STATE / "lock"
"""File that whoever runs DVC in the tree holds, and so does that DVC."""
DAMAGED = STATE / "dvc.lock.damaged"
WORKTREES = STATE / "worktrees"
"""Folder of the worktrees of experiments that run."""
MODELS = STATE / "experiments"
"""Folder of the models that experiments exported."""
SWEEPS = STATE / "sweeps"
"""Folder of the locks of sweeps."""
STUDIES = STATE / "sweeps.db"
"""File of the Optuna studies (SQLite)."""
