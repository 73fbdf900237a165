"""Images per second of one process, and of two that train together, each with a core of its own.

    python benchmarks/together.py [--profile image_folder] [--stage warmup] [--rounds 3]
    [--set KEY=VALUE ...] [--folder FOLDER]

Rounds are interleaved: the stage alone, then by torchrun in two processes, all with one thread.
Prints the median of images per second over the epochs of all rounds but the first of each run, and
the median of the ratios round by round; then a JSON line. Needs two idle cores.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

from cached import NEEDS, SOURCE, assignment, run_stages
from rich.console import Console
from rich.table import Table

from pipeline.running.overrides import compose

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def rates(stage: str, inputs: list[Path], out: Path, text: str, processes: int) -> list[float]:
    """Run a stage; return the images per second of each epoch but the first."""
    out.mkdir(parents=True)
    (out / "params.yaml").write_text(text, encoding="utf-8")
    launcher = TORCHRUN if processes > 1 else ()
    subprocess.run(
        [sys.executable, *launcher, "-m", f"stages.{stage}", *inputs, out],
        cwd=out,
        env={**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"},
        check=True,
        stdout=sys.stderr,
    )
    with (out / ".aso-se" / "progress" / f"{stage}.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [float(row["images_per_second"]) for row in rows][1:]


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
    found: dict[int, list[float]] = {1: [], 2: []}
    for number in range(arguments.rounds):
        for processes, medians in found.items():
            out = folder / f"{os.getpid()}-{number}-{processes}"
            medians.append(median(rates(arguments.stage, inputs, out, text, processes)))
    ratio = median(two / one for one, two in zip(found[1], found[2], strict=True))
    table = Table("processes", "images/s", "times one process", title=arguments.stage)
    table.add_row("1", f"{median(found[1]):,.0f}", "1")
    table.add_row("2", f"{median(found[2]):,.0f}", f"{ratio:.2f}")
    Console(stderr=True).print(table)
    print(json.dumps({"stage": arguments.stage, "images_per_second": found, "ratio": ratio}))


if __name__ == "__main__":
    main()
