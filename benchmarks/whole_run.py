"""Time of a whole run: seconds per stage of `dvc repro`.

    python benchmarks/whole_run.py

Clones the committed tree into a temporary folder, where nothing is cached, and runs it. `epochs`:
training and evaluation, from the histories of the stages; `imports`: import of the stage's modules,
measured alone; `rest`: data, files, DVC. Prints a table and a JSON line.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipeline.running.graph import read_graph
from pipeline.running.repro import Repro


def whole(tree: Path) -> dict[str, float]:
    """Run all stages; return the seconds of each, including those of DVC before it."""
    seconds: dict[str, float] = {}
    before = time.monotonic()
    with Repro(tree, "--force", environment={"DVC_SITE_CACHE_DIR": str(tree / "site")}) as repro:
        while True:
            name = repro.stage.name if repro.stage else None
            for _ in repro.lines():
                pass
            if name:
                seconds[name] = repro.moment - before
                before = repro.moment
            if repro.ended:
                break
    if not repro.succeeded:
        sys.exit("dvc repro failed; run it by itself to see why")
    return seconds


def imports(tree: Path, stage: str) -> float:
    """Return the seconds that importing a stage takes."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", f"import stages.{stage}"], cwd=tree, check=True)
    return time.monotonic() - began


def epochs(tree: Path, stage: str) -> float:
    """Return the seconds of all epochs of a stage; 0 if it has none."""
    path = tree / ".aso-se" / "progress" / f"{stage}.tsv"
    if not path.exists():
        return 0.0
    with path.open(encoding="utf-8") as file:
        return sum(float(row["seconds"]) for row in csv.DictReader(file, dialect="excel-tab"))


def main() -> None:
    """Measure and print."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    source = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "clone", "--quiet", str(source), str(tree)], check=True)
        seconds = whole(tree)
        parts = {
            stage.name: {
                "whole": seconds[stage.name],
                "epochs": epochs(tree, stage.name),
                "imports": imports(tree, stage.name),
            }
            for stage in read_graph(tree)
        }
    table = Table("stage", "seconds", "epochs", "imports", "rest")
    sums = {
        key: sum(part[key] for part in parts.values()) for key in ("whole", "epochs", "imports")
    }
    for name, part in {**parts, "all": sums}.items():
        rest = part["whole"] - part["epochs"] - part["imports"]
        table.add_row(name, *(f"{one:.1f}" for one in (*part.values(), rest)))
    Console(stderr=True).print(table)
    share = 1 - sums["epochs"] / sums["whole"]
    print(json.dumps({"stages": parts, "all": sums, "share_outside_epochs": share}))


if __name__ == "__main__":
    main()
