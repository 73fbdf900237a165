"""TensorBoard's event files beside the histories, if the environment asks for them."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path

from pipeline.harness.errors import RunError
from pipeline.harness.ranks import is_first
from pipeline.harness.records import Row

FOLDER = "ASO_SE_TENSORBOARD"
"""Variable with the folder of the event files; those of a stage are in FOLDER/<tree>/<stage>."""


@contextmanager
def events(name: str) -> Iterator[Callable[[Row], None]]:
    """Yield a function that writes the numbers of an epoch's row.

    What a run that was killed wrote of the same or later epochs is passed over by TensorBoard.

    name: of the stage.

    Raises:
        RunError: the extra `tensorboard` is not installed, or the folder cannot be written to.
    """
    named = os.environ.get(FOLDER)
    if not named or not is_first():
        yield lambda _: None
        return
    try:
        new_writer = import_module("tensorboardX").SummaryWriter
    except ImportError:
        raise RunError(
            f"{FOLDER}: tensorboardX is not installed; run 'make install', or unset the variable"
        ) from None
    folder, writer = Path(named) / Path.cwd().name / name, None

    def write(row: Row) -> None:
        nonlocal writer
        epoch = int(row["epoch"])
        try:
            writer = writer or opened.enter_context(new_writer(str(folder), purge_step=epoch))
        except OSError as error:
            raise RunError(f"{FOLDER}: {folder}: {error.strerror}") from None
        for column, value in row.items():
            if not isinstance(value, str) and column != "epoch":
                writer.add_scalar(column, value, epoch)
        writer.flush()

    with ExitStack() as opened:
        yield write
