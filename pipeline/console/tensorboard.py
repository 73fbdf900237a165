"""TensorBoard's event files beside the histories, if the environment asks for them.

tensorboardX's own `SummaryWriter` writes in a thread: a full disk would be a traceback there, or a
wait without end. So this gives its events to the file by itself.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

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
        RunError: the extra `tensorboard` is not installed.
        OSError: the folder, which it names, cannot be written to.
    """
    named = os.environ.get(FOLDER)
    if not named or not is_first():
        yield lambda _: None
        return
    try:
        new_writer = import_module("tensorboardX.event_file_writer").EventsWriter
        message = import_module("tensorboardX.proto.event_pb2")
    except ImportError:
        raise RunError(
            f"{FOLDER}: tensorboardX is not installed; run 'make install', or unset the variable"
        ) from None
    folder, writer = Path(named) / Path.cwd().name / name, None

    def put(epoch: int, **content: Any) -> None:
        assert writer is not None
        writer.write_event(message.Event(wall_time=time.time(), step=epoch, **content))

    def write(row: Row) -> None:
        nonlocal writer
        epoch = int(row["epoch"])
        numbers = [
            {"tag": column, "simple_value": value}
            for column, value in row.items()
            if not isinstance(value, str) and column != "epoch"
        ]
        with _naming(folder):
            if writer is None:
                folder.mkdir(parents=True, exist_ok=True)
                writer = new_writer(str(folder / "events"))
                put(epoch, session_log={"status": message.SessionLog.START})
            put(epoch, summary={"value": numbers})
            writer.flush()

    try:
        yield write
    finally:
        with _naming(folder):
            if writer is not None:
                writer.close()


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """Let an error of a file name the folder."""
    try:
        yield
    except OSError as error:
        error.filename = str(folder)
        raise
