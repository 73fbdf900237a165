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
FORECAST = STATE / "forecast"
"""Folder of the checkpoint from which a run's time is measured; the measurement removes it."""
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
READ_BACK = STATE / "remote"
"""Folder of what `aso-se verify --remote` fetches; removed when it has ended."""
GRAPH = "dvc.yaml"
"""File that only the root of a clone of the project has."""


def where_to_run(tree: Path) -> str:
    """Return what to do about a folder that is no clone: go to the clone around it, if any."""
    around = next((one for one in tree.absolute().parents if (one / GRAPH).is_file()), None)
    return f"run this in {around or 'a clone of the project'}"
