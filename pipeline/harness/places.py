"""Where the project keeps all files that are not artifacts: one folder that Git ignores."""

from pathlib import Path

STATE = Path(".aso-se")
"""That folder, in a working tree."""
PROGRESS = STATE / "progress"
"""Folder with a table of the epochs of each stage; nothing depends on it."""
RESUME = STATE / "resume"
"""Folder of the resume points; ASO_SE_RESUME overrides it."""
WRITTEN = STATE / "written"
"""Folder of what each stage of the last `dvc repro` wrote: its files with their digests."""
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
REPLACED = STATE / "replaced"
"""Folder of the files that `aso-se verify --repair` took away; nothing removes it."""
GRAPH = "dvc.yaml"
"""File that only the root of a clone of the project has."""


def where_to_run(tree: Path) -> str:
    """Return what to do about a folder that is no clone: go to the clone around it, if any."""
    return f"run this in {clone_around(tree) or 'a clone of the project'}"


def clone_around(folder: Path) -> Path | None:
    """Return the clone that a folder lies in, None for a clone itself and outside all clones."""
    here, *parents = (folder.absolute() / "_").parents
    clones = (one for one in parents if (one / GRAPH).is_file())
    return None if (here / GRAPH).is_file() else next(clones, None)
