"""Whether search is stable: many seeds of it, from nothing to its end.

    python benchmarks/stability.py [--profile digits] [--seeds 10] [--set KEY=VALUE ...]
    [--folder FOLDER]

For each seed the stages prepare, warmup and search run as they are. Prints, for each seed, the
validation accuracy when warmup ended, the largest fall in search's first three epochs and the
accuracy at its end; entropy (a fraction of its maximum), mean largest weight and share of skip
connections at its end; how often an epoch had to be repeated. Then the worst of each beside what is
promised: a fall of at most 5 points, entropy of at most 0.65, a weight above 0.4.

A search that lost what warmup had learnt, and did so again at lower rates, gives up: its seed is
listed as such. `--set warmup.explore=0 --set search.explore=0` shows what happens without the cure.

What was computed stays in FOLDER and is not computed again. Ends with exit code 1 if a promise is
not kept or a search gave up. Prints a table and a JSON line.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from cached import SOURCE, assignment, metrics, run_stages
from rich.console import Console
from rich.table import Table

from pipeline.harness.errors import TrainingFailedError
from pipeline.running.overrides import compose

FALL, ENTROPY, WEIGHT = 5.0, 0.65, 0.4
"""What is promised: points, a fraction of the maximum, a fraction of 1."""


class GaveUpError(Exception):
    """Search ended with exit code 3."""


def measure(profile: str, changes: dict[str, object], seed: int, folder: Path) -> dict[str, float]:
    """Search with one seed; return what is watched. Accuracies and the fall in points.

    Raises:
        GaveUpError: training degraded, at lower rates too.
    """
    try:
        done = run_stages(folder, compose(SOURCE, profile, {**changes, "seed": seed}), "search")
    except subprocess.CalledProcessError as error:
        if error.returncode == TrainingFailedError.exit_code and "stages.search" in error.cmd:
            raise GaveUpError from None
        raise
    warmed, searched = metrics(done["warmup"]), metrics(done["search"])
    return {
        "seed": seed,
        "warmup": 100 * warmed["validation_accuracy"],
        "fall": 100 * searched["drop_at_start"],
        "search": 100 * searched["validation_accuracy"],
        "entropy": searched["entropy_fraction"],
        "max_weight": searched["max_weight"],
        "share_skip": searched["share_skip_connect"],
        "recoveries": searched["recoveries"],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="digits")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--folder", type=Path, default=Path(".aso-se/stability"))
    arguments = parser.parse_args()
    changes = dict(assignment(one) for one in arguments.set)
    rows, gave_up = [], []
    for seed in range(arguments.seeds):
        try:
            rows.append(measure(arguments.profile, changes, seed, arguments.folder.resolve()))
        except GaveUpError:
            gave_up.append(seed)
    console = Console(stderr=True, width=120)
    if gave_up:
        console.print(f"Gave up, for it lost what warmup had learnt: seeds {gave_up}.")
    if not rows:
        print(json.dumps({"seeds": [], "gave_up": gave_up}))
        sys.exit(1)
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(f"{value:.2f}" if value % 1 else f"{value:.0f}" for value in row.values()))
    worst = {
        "fall": max(row["fall"] for row in rows),
        "entropy": max(row["entropy"] for row in rows),
        "max_weight": min(row["max_weight"] for row in rows),
    }
    console.print(table)
    console.print(
        f"Worst of those that ended: fall {worst['fall']:.1f} points (at most {FALL}),"
        f" entropy {worst['entropy']:.2f} (at most {ENTROPY}),"
        f" largest weight {worst['max_weight']:.2f} (above {WEIGHT})."
    )
    print(json.dumps({"seeds": rows, "worst": worst, "gave_up": gave_up}))
    kept = worst["fall"] <= FALL and worst["entropy"] <= ENTROPY and worst["max_weight"] > WEIGHT
    sys.exit(0 if kept and not gave_up else 1)


if __name__ == "__main__":
    main()
