"""What a person sees while a stage works: a bar on a terminal, one line per epoch in a log.

After each epoch, `.aso-se/progress/<stage>.tsv` holds all rows so far, with seconds and memory;
nothing depends on that file.
"""

import resource
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.console.interruption import if_interrupted
from pipeline.console.mlflow_run import tracked
from pipeline.console.tensorboard import events
from pipeline.harness.metrics import COLUMNS
from pipeline.harness.places import PROGRESS
from pipeline.harness.ranks import is_first
from pipeline.harness.records import Row, write_history
from pipeline.harness.showing import in_lines

BESIDE_BAR = ("validation_accuracy", "temperature")
"""Columns shown beside the bar, which fit on a terminal of 80 characters.

The training accuracy takes the place of a missing validation accuracy.
"""

LONGEST_EPOCH_SECONDS = 7 * 24 * 3600.0
"""Seconds that rich looks back to estimate the time left; its own 30 s are less than an epoch."""

SILENT_SECONDS = 30.0
"""Seconds between the lines of a log that say how many items are done."""

MOST_MINUTES = 90
"""Number of minutes from which on hours are shown instead."""

T = TypeVar("T")
console = Console(markup=False, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Print a text as `in_lines` shows it; of several ranks, only the first prints."""
    if is_first():
        console.print(in_lines(text))


def watch(
    rows: Iterator[Row], *, before: Sequence[Row] = (), name: str, epochs: int, images: int
) -> list[Row]:
    """Run the epochs, show each as it ends, and return all rows.

    before: rows of the epochs that an interrupted run finished. epochs: number of epochs, those
    included. images: number of images per epoch, for images/s.
    """
    done = list(before)
    followed = list(before)
    if done:
        say(f"{name}: resumes after epoch {len(done)} of {epochs}")
    on_terminal = _on_terminal()
    columns = (
        TextColumn("{task.description} epoch"),
        MofNCompleteColumn(),
        BarColumn(bar_width=12),
        TimeRemainingColumn(),
        TextColumn("{task.fields[last]}"),
    )
    bar = Progress(
        *columns,
        console=console,
        speed_estimate_period=LONGEST_EPOCH_SECONDS,
        disable=not (on_terminal and is_first()),
    )
    with events(name) as log, tracked(name, before=before, tell=say) as send, bar as progress:
        task = progress.add_task(name, total=epochs, completed=len(done), last="")
        began, worked = time.perf_counter(), time.process_time()
        for row in rows:
            seconds = time.perf_counter() - began
            done.append(row)
            cpu_seconds = time.process_time() - worked
            followed.append({**row, **_performance(seconds, cpu_seconds, images)})
            write_history(PROGRESS / f"{name}.tsv", followed)
            log(followed[-1])
            send(followed[-1])
            if_interrupted(
                f"{name}: interrupted after epoch {len(done)} of {epochs};"
                " run it again to resume there"
            )
            speed = f"{images / seconds:.0f} images/s"
            progress.update(task, advance=1, last=f"{describe(_few(row))}, {speed}")
            if not on_terminal:
                spent = [float(one["seconds"]) for one in followed if "seconds" in one]
                left = time_left((epochs - len(done)) * sum(spent) / len(spent))
                say(f"{name} {len(done)}/{epochs}: {describe(row)}, {speed}{left}")
            began, worked = time.perf_counter(), time.process_time()
    return done


def track(items: Iterable[T], *, name: str, count: int) -> Iterator[T]:
    """Yield the items and show how many are done: by a bar, or by a line in a log now and then.

    name: what is counted. count: number of items.
    """
    columns = (
        TextColumn("{task.description}"),
        MofNCompleteColumn(),
        BarColumn(bar_width=12),
        TimeRemainingColumn(),
    )
    began = told = time.monotonic()
    on_terminal = _on_terminal()
    with Progress(*columns, console=console, transient=True, disable=not on_terminal) as progress:
        task = progress.add_task(name, total=count)
        for done, item in enumerate(items, 1):
            yield item
            progress.update(task, completed=done)
            if not on_terminal and (now := time.monotonic()) - told > SILENT_SECONDS:
                told = now
                left = time_left((now - began) / done * (count - done))
                say(f"{name}: {done:,} of {count:,}{left}")


def time_left(seconds: float) -> str:
    """Return how long the rest of a stage's epochs takes, from a minute on; else ''."""
    shown = about(seconds)
    return f", {shown} left" if shown else ""


def about(seconds: float) -> str:
    """Return a duration in whole minutes, or in hours; '' if it rounds to no minute."""
    minutes = round(seconds / 60)
    if minutes >= MOST_MINUTES:
        return f"{minutes / 60:.1f} h"
    return f"{minutes} min" if minutes else ""


def describe(row: Row) -> str:
    """Return the displayed columns as one line."""
    return ", ".join(
        column.shown.format(row[column.name])
        for column in COLUMNS
        if column.shown and row.get(column.name, "") != ""
    )


def _on_terminal() -> bool:
    """Whether a bar can be redrawn in place; false for a log, whatever FORCE_COLOR says."""
    return console.is_interactive and console.file.isatty()


def _few(row: Row) -> Row:
    accuracy = () if row.get("validation_accuracy", "") != "" else ("train_accuracy",)
    return {key: row[key] for key in (*accuracy, *BESIDE_BAR) if key in row}


def _performance(seconds: float, cpu_seconds: float, images: int) -> Row:
    torch = sys.modules.get("torch")  # a stage without torch must not import it for this
    on_device = torch is not None and torch.cuda.is_available()
    return {
        "seconds": round(seconds, 3),
        "cpu_seconds": round(cpu_seconds, 3),  # what other processes do changes it little
        "images_per_second": round(images / seconds, 1),
        "peak_host_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "peak_device_bytes": torch.cuda.max_memory_allocated() if torch and on_device else 0,
    }
