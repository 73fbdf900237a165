"""How the cost of a sampled step grows with the size of the network and of the work.

    python benchmarks/scaling.py [--rounds 7]

One size is varied at a time; all sizes are interleaved in one run. The exponent is the slope of
log(seconds) over log(size), by least squares over the medians; 1 is linear. Prints a table and a
JSON line.
"""

import argparse
import json
import statistics

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from step import Bench, bench_of, round_of

from pipeline.space.relaxation import initial_logits

BASE = {"cells": 8, "nodes": 4, "channels": 16, "batch": 32, "size": 32}
VARIED = {
    "cells": (5, 8, 11, 14, 20),
    "channels": (8, 16, 32, 64),
    "batch": (16, 32, 64, 128),
    "size": (16, 24, 32, 48),
}


def seconds(bench: Bench) -> float:
    """Return the seconds of one weight step along a newly drawn path."""
    logits = initial_logits(bench.blueprint, none=-2, skip=1, noise=0.5, generator=bench.generator)
    return round_of(bench, "sampled", logits) * len(bench.images)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    points = [(name, value) for name, values in VARIED.items() for value in values]
    benches = {
        (name, value): bench_of(
            argparse.Namespace(**{**BASE, name: value}, device=arguments.device)
        )
        for name, value in points
    }
    taken: dict[tuple[str, int], list[float]] = {point: [] for point in points}
    for number in range(arguments.rounds + 1):
        for point in points:
            one = seconds(benches[point])
            if number:
                taken[point].append(one)
    medians = {point: statistics.median(values) for point, values in taken.items()}
    table = Table("varied", "sizes", "seconds per step", "exponent")
    exponents = {}
    for name, values in VARIED.items():
        row = [medians[name, value] for value in values]
        exponents[name] = float(np.polyfit(np.log(values), np.log(row), 1)[0])
        shown = " ".join(f"{one:.3f}" for one in row)
        table.add_row(name, " ".join(map(str, values)), shown, f"{exponents[name]:.2f}")
    Console(stderr=True).print(table)
    document = {
        "base": BASE,
        "threads": torch.get_num_threads(),
        "seconds": {f"{name} {value}": one for (name, value), one in medians.items()},
        "exponents": exponents,
    }
    print(json.dumps(document))


if __name__ == "__main__":
    main()
