"""The prepared images that a measurement reads: those in `artifacts/prepare`, or new ones."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.console.progress import say
from pipeline.harness.errors import DataError
from pipeline.prepared.facts import FACTS
from pipeline.running.experiments import dvc

PREPARED = Path("artifacts/prepare")


@contextmanager
def prepared(tree: Path) -> Iterator[Path]:
    """Yield a folder of prepared images that belong to the tree's params and data.

    If `artifacts/prepare` does not, the stage prepares them in a temporary folder.

    Raises:
        DataError: the images cannot be prepared; the message is the stage's.
        RunError: DVC cannot say whether `artifacts/prepare` is up to date.
    """
    if is_up_to_date(tree):
        yield tree / PREPARED
        return
    say(f"{PREPARED}: missing, or not of these params; the images are prepared for this alone")
    with TemporaryDirectory(prefix="aso-se-plan-") as folder:
        done = subprocess.run(  # noqa: S603 - our own command, no shell
            [sys.executable, "-m", "stages.prepare", folder],
            cwd=tree,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            raise DataError(done.stderr.strip() or f"prepare: exit code {done.returncode}")
        yield Path(folder)


def is_up_to_date(tree: Path) -> bool:
    """Whether DVC says that `artifacts/prepare` is what a run would read; false without DVC."""
    here = (tree / "dvc.yaml").exists() and (tree / PREPARED / FACTS).exists()
    if not here or find_spec("dvc") is None:
        return False
    return not json.loads(dvc(tree, "status", "--json", PREPARED.name))
