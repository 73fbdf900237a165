"""What a param is worth: the whole pipeline with and without it, on the same seeds.

    python benchmarks/variants.py [--profile digits] [--seeds 0,1,2] [--set KEY=VALUE ...]
    [--row "KEY=VALUE KEY=VALUE" ...] [--by test|f1] [--folder FOLDER]

The pipeline runs up to the test with the params of --set, and again with those of each --row on
top. Stages whose params and inputs are equal run once. Prints, as means over the seeds, the
accuracies of the most likely network at the end of search and growth (validation images) and of the
finished one (test images), the mean F1 of the classes, how often growths were accepted and rolled
back, by how much entropy rose after the epoch of an accepted one, parameters, CPU seconds of all
epochs, and the paired difference to the first row, in accuracy or F1; then a JSON line. Results
stay in FOLDER and are not computed again.
"""

import argparse
import csv
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

from cached import SOURCE, assignment, metrics, run_stages, spread
from controls import TRAINED, seconds
from paired import describe, paired
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.running.overrides import compose


@dataclass(frozen=True, kw_only=True)
class Ran:
    """One run. Accuracies in per cent. entropy_rise: nats per edge, mean over accepted growths."""

    seed: int
    row: str
    searched: float
    grown: float
    test: float
    f1: float
    accepted: tuple[str, ...]
    rolled_back: tuple[str, ...]
    entropy_rise: float
    parameters: int
    seconds: float


def run(seed: int, row: str, changes: Mapping[str, Any], arguments: argparse.Namespace) -> Ran:
    """Run the pipeline once."""
    text = compose(SOURCE, arguments.profile, {**changes, "seed": seed})
    done = run_stages(arguments.folder.resolve(), text, "derive")
    events = json.loads((done["growth"] / "growth.json").read_text(encoding="utf-8"))["events"]

    def kinds(verdict: str) -> tuple[str, ...]:
        return tuple(one["kind"] for one in events if one["verdict"] == verdict)

    tested = metrics(done["derive"])
    return Ran(
        seed=seed,
        row=row,
        searched=100 * metrics(done["search"])["genotype_accuracy"],
        grown=100 * metrics(done["growth"])["genotype_accuracy"],
        test=100 * tested["test_accuracy"],
        f1=100 * tested["test_f1"],
        accepted=kinds("accepted"),
        rolled_back=kinds("rolled back"),
        entropy_rise=entropy_rise(done["growth"] / "history.tsv"),
        parameters=tested["parameters"],
        seconds=sum(
            seconds(done[stage], name) for stage, names in TRAINED.items() for name in names
        ),
    )


def entropy_rise(history: Path) -> float:
    """Return the mean change of entropy in the epoch after an accepted growth; 0 without any."""
    with history.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    rises = [
        float(after["entropy"]) - float(row["entropy"])
        for row, after in pairwise(rows)
        if "accepted" in row["event"]
    ]
    return mean(rises) if rises else 0.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="digits")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--row", action="append", default=[], metavar="KEY=VALUE ...")
    parser.add_argument("--by", choices=("test", "f1"), default="test")
    parser.add_argument("--folder", type=Path, default=Path(".aso-se/variants"))
    arguments = parser.parse_args()
    base = dict(assignment(one) for one in arguments.set)
    rows = {"as it is": base} | {
        row: {**base, **dict(assignment(one) for one in row.split())} for row in arguments.row
    }
    found: dict[str, list[Ran]] = {name: [] for name in rows}
    for seed in map(int, arguments.seeds.split(",")):
        for name, changes in rows.items():
            found[name].append(run(seed, name, changes, arguments))
    table = Table(
        *("row", "searched %", "grown %", "test %", "F1 %", "accepted", "rolled back", "entropy"),
        *("parameters", "CPU s", "to the first", "ahead / behind", "p: t, Wilcoxon"),
    )
    first = [getattr(one, arguments.by) for one in found["as it is"]]
    for name, runs in found.items():
        table.add_row(
            escape(name),
            *(
                spread([getattr(one, key) for one in runs])
                for key in ("searched", "grown", "test", "f1")
            ),
            *(
                f"{mean(len(getattr(one, key)) for one in runs):.1f}"
                for key in ("accepted", "rolled_back")
            ),
            f"{mean(one.entropy_rise for one in runs):+.2f}",
            *(
                f"{mean(getattr(one, key) for one in runs):,.0f}"
                for key in ("parameters", "seconds")
            ),
            *describe(paired([getattr(one, arguments.by) for one in runs], first)),
        )
    Console(stderr=True, width=200).print(table)
    print(json.dumps({name: [asdict(one) for one in runs] for name, runs in found.items()}))


if __name__ == "__main__":
    main()
