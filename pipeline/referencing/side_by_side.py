"""References that are trained side by side on a CPU, where a small network keeps one core busy.

Each trains in a process of its own, which is this stage again with one reference to train and
nothing to test or write. It ends at its last resume point, from which the stage goes on. A process
that fails leaves the rest of its epochs, and what to say of them, to the stage.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

from pipeline.console.guarding import PARENT, STAGE
from pipeline.console.progress import say
from pipeline.harness import ranks
from pipeline.referencing.params import ALL_PASSES, TRAINED, KindName

ONLY = "ASO_SE_REFERENCE"
"""Variable with the reference that a process trains; not for people."""


def only(kinds: Sequence[KindName]) -> KindName | None:
    """Return the one of these references that this process trains, None if it is the stage."""
    return next((kind for kind in kinds if kind == os.environ.get(ONLY)), None)


def at_once(kinds: Sequence[KindName], device: torch.device) -> int:
    """Return how many of these references train at once: on a CPU, one for each thread."""
    trained = sum(kind in TRAINED for kind in kinds)
    alone = device.type != "cpu" or ranks.count() > 1 or ONLY in os.environ
    return 1 if alone else max(1, min(trained, torch.get_num_threads()))


@contextmanager
def threads_of_each(count: int) -> Iterator[int]:
    """Let torch use so many threads as each of `count` processes has; yield the number."""
    before = torch.get_num_threads()
    share = before // count
    torch.set_num_threads(share)
    try:
        yield share
    finally:
        torch.set_num_threads(before)


@contextmanager
def side_by_side(
    kinds: Sequence[KindName], device: torch.device
) -> Iterator[Callable[[KindName], None]]:
    """Train references in processes of their own; yield a function that waits for one of them.

    Whether they do or not, torch uses as many threads here as each of them has, so that the bits
    are the same: a program that calls the stage's function has no command to start again.
    """
    count = at_once(kinds, device)
    with threads_of_each(count) as threads:
        if count == 1 or "stages.reference" not in sys.orig_argv:
            yield lambda _: None
            return
        environment = os.environ | {
            PARENT: str(os.getpid()),
            "OMP_NUM_THREADS": str(threads),
            "TTY_INTERACTIVE": "0",  # rich draws no bars, of which a terminal shows one at a time
        }
        environment.pop(STAGE, None)  # DVC runs this process, not those
        running: list[subprocess.Popen[bytes]] = []

        def train(kind: KindName) -> int:
            process = subprocess.Popen(  # noqa: S603 (this process's own command)
                [sys.executable, *sys.orig_argv[1:]],
                env=environment | {ONLY: kind},
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            running.append(process)
            return process.wait()

        def ready(kind: KindName) -> None:
            if kind in began and (code := began[kind].result()):
                say(f"reference-{kind}: its process ended with code {code}; it goes on here")

        trained = [kind for kind in kinds if kind in TRAINED]
        slowest_first = sorted(trained, key=_haste)
        say(f"reference: {count} networks train at a time, with {threads} threads each")
        pool = ThreadPoolExecutor(count)
        began = {kind: pool.submit(train, kind) for kind in slowest_first}
        try:
            yield ready
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            while not all(one.done() for one in began.values()):  # the stage has failed
                for process in running:
                    process.terminate()
                time.sleep(0.1)


def _haste(kind: KindName) -> tuple[bool, bool]:
    """Return what sorts references by how fast they train: cells take longer than a ResNet."""
    return kind.startswith("resnet"), not kind.endswith(ALL_PASSES)
