"""Stability of search over many seeds, from the data to the end of search.

    python benchmarks/stability.py [--profile digits] [--seeds 10] [--set KEY=VALUE ...]
    [--folder FOLDER]

For each seed the stages prepare, warmup and search run unchanged. Prints for each seed the
validation accuracy at the end of warmup, the largest fall in the first three epochs of search
(negative if accuracy rose) and the accuracy at its end; entropy (a fraction of its maximum), mean
largest weight and share of skip connections at its end; and the number of repeated epochs. Then
prints the worst of each with its limit: a fall of at most 5 points, entropy of at most 0.65, a
weight above 0.4.

A search that loses what warmup had learnt, also at lower rates, gives up; its seed is listed.
`--set warmup.explore=0 --set search.explore=0` measures search without exploration.

Results stay in FOLDER and are not computed again. Prints a table and a JSON line. The exit code is
1 if a limit is exceeded or a search gave up.
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
"""Limits: points of accuracy, a fraction of the maximum, a fraction of 1."""


class GaveUpError(Exception):
    """Search ended with exit code 3."""


def measure(profile: str, changes: dict[str, object], seed: int, folder: Path) -> dict[str, float]:
    """Search with one seed; return the figures, with accuracies and the fall in points.

    Raises:
        GaveUpError: training degraded, also at lower rates.
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
        console.print(f"Search lost what warmup had learnt and gave up on seeds {gave_up}.")
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
    fall = worst["fall"]
    change = f"fell by {fall:.1f}" if fall >= 0 else f"rose by {-fall:.1f}"
    console.print(
        f"Worst of those that ended: accuracy {change} points (a fall of at most {FALL}),"
        f" entropy {worst['entropy']:.2f} (at most {ENTROPY}),"
        f" largest weight {worst['max_weight']:.2f} (above {WEIGHT})."
    )
    print(json.dumps({"seeds": rows, "worst": worst, "gave_up": gave_up}))
    kept = worst["fall"] <= FALL and worst["entropy"] <= ENTROPY and worst["max_weight"] > WEIGHT
    sys.exit(0 if kept and not gave_up else 1)


if __name__ == "__main__":
    main()
