"""What a person sees while a stage works: a bar on a terminal, one line per epoch in a log.

What differs from run to run, seconds and memory, is written to `.aso-se/performance/`, on which
nothing depends.
"""

import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.exchange.records import Row, write_history

PERFORMANCE = Path(".aso-se/performance")

SHOWN = {
    "phase": "{}",
    "train_loss": "loss {:.3f}",
    "train_accuracy": "train {:.1%}",
    "validation_accuracy": "validation {:.1%}",
    "genotype_accuracy": "genotype {:.1%}",
    "temperature": "tau {:.2f}",
    "entropy": "entropy {:.2f}",
    "max_weight": "max {:.2f}",
    "event": "{}",
}
"""Columns of an epoch's row that are shown, and how."""

console = Console(highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Print one line."""
    console.print(text, markup=False)


def watch(rows: Iterator[Row], *, name: str, epochs: int, images: int) -> list[Row]:
    """Run the epochs, show each as it ends, and return their rows.

    epochs: how many there will be. images: per epoch, for images/s.
    """
    shown, performance = [], []
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[last]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=epochs, last="")
        began = time.perf_counter()
        for row in rows:
            seconds = time.perf_counter() - began
            performance.append(_performance(row, seconds, images))
            shown.append(row)
            progress.update(task, advance=1, last=describe(row))
            if not console.is_terminal:
                speed = f"{images / seconds:.0f} images/s"
                say(f"{name} {len(shown)}/{epochs}: {describe(row)}, {speed}")
            began = time.perf_counter()
    write_history(PERFORMANCE / f"{name}.tsv", performance)
    return shown


def describe(row: Row) -> str:
    """Return the columns that are shown, as one line."""
    return ", ".join(form.format(row[key]) for key, form in SHOWN.items() if row.get(key, "") != "")


def _performance(row: Row, seconds: float, images: int) -> Row:
    torch = sys.modules.get(
        "torch"
    )  # a stage that does not compute with torch shall not import it for this
    on_device = torch is not None and torch.cuda.is_available()
    return {
        "epoch": row["epoch"],
        "seconds": round(seconds, 3),
        "images_per_second": round(images / seconds, 1),
        "peak_host_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "peak_device_bytes": torch.cuda.max_memory_allocated() if torch and on_device else 0,
    }
