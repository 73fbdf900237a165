"""Images per second of one process, of two at the same time, and of two that train together.

    python benchmarks/together.py [--profile image_folder] [--stage warmup] [--rounds 3]
    [--set KEY=VALUE ...] [--folder FOLDER]

Rounds are interleaved, and each process has one thread: the stage in one process; in two that know
nothing of each other, whose images are added up, so that what two cores lose by sharing a machine
is in it; and by torchrun in two processes. Prints the median over the rounds of images per second,
each of all epochs of a run but the first, and how two together compare with two apart, round by
round; then a JSON line. Needs two idle cores.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from statistics import median

from cached import NEEDS, SOURCE, assignment, run_stages
from rich.console import Console
from rich.table import Table

from pipeline.running.overrides import compose

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
WAYS = {"one": [()], "two apart": [(), ()], "two together": [TORCHRUN]}
"""Launchers of the processes of each way, which run at the same time."""


def rate(way: str, stage: str, inputs: list[Path], out: Path, text: str) -> float:
    """Run a stage in one of the ways; return the images per second of all its processes."""
    running, folders = [], [out / str(number) for number, _ in enumerate(WAYS[way])]
    for folder, launcher in zip(folders, WAYS[way], strict=True):
        folder.mkdir(parents=True)
        (folder / "params.yaml").write_text(text, encoding="utf-8")
        running.append(
            subprocess.Popen(
                [sys.executable, *launcher, "-m", f"stages.{stage}", *inputs, folder],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"},
                stdout=sys.stderr,
            )
        )
    codes = [process.wait() for process in running]
    if any(codes):
        raise SystemExit(f"{stage}: failed in {out}")
    return sum(map(partial(_rate, stage), folders))


def _rate(stage: str, folder: Path) -> float:
    with (folder / ".aso-se" / "progress" / f"{stage}.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return median(float(row["images_per_second"]) for row in rows[1:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="image_folder")
    parser.add_argument("--stage", default="warmup", choices=["warmup", "search", "optimize"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--folder", type=Path, default=Path(".aso-se/together"))
    arguments = parser.parse_args()
    changes = dict(assignment(one) for one in arguments.set)
    changes["data.path"] = str(Path(str(changes.get("data.path", "data/images"))).resolve())
    text = compose(SOURCE, arguments.profile, changes)
    folder = arguments.folder.resolve()
    *_, before = (name for name in NEEDS if name in NEEDS[arguments.stage])
    done = run_stages(folder, text, before)
    inputs = [done[name] for name in NEEDS[arguments.stage]]
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(arguments.rounds):
        for way, measured in found.items():
            out = folder / f"{os.getpid()}-{number}-{way}"
            measured.append(rate(way, arguments.stage, inputs, out, text))
    pairs = zip(found["two apart"], found["two together"], strict=True)
    ratio = median(together / apart for apart, together in pairs)
    table = Table("processes", "images/s", title=arguments.stage)
    for way, measured in found.items():
        table.add_row(way, f"{median(measured):,.0f}")
    table.add_row("two together, times two apart", f"{ratio:.2f}")
    Console(stderr=True).print(table)
    print(json.dumps({"stage": arguments.stage, "images_per_second": found, "ratio": ratio}))


if __name__ == "__main__":
    main()
