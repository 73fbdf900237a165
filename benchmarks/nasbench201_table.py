"""The table of NAS-Bench-201, with published measurements of each of its 15,625 cells."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.space.genotype import Genotype
from pipeline.space.spaces.nasbench201 import to_arch_string

DIGITS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
SHORT_EPOCHS = 12
SHORT_IMAGES = 25_000
"""Number of epochs, and of training images in each, after which random search compares cells."""
OTHERS = ("cifar100_test_accuracy", "imagenet16_120_test_accuracy")
"""Optional columns of a table."""
LARGEST = "333333"
"""Digits of the cell with the most parameters, which needs no search."""
PUBLISHED = {
    "DARTS, second order (Dong & Yang 2020)": 54.30,
    "GDAS (Dong & Yang 2020)": 93.61,
    "PC-DARTS": 93.41,
    "DrNAS": 94.36,
}


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The table's figures for one cell.

    test, short: accuracies in per cent. parameters: number in millions. others: accuracies on
    further data sets by name, if the table has them.
    """

    test: float
    short: float
    parameters: float
    others: Mapping[str, float]


def read_table(path: Path) -> dict[str, Trained]:
    """Return the table's figures for every cell, by its digits."""
    with path.open(encoding="utf-8") as file:
        return {
            row["ops"]: Trained(
                test=float(row["test_accuracy_200_epochs"]),
                short=float(row["valid_accuracy_12_epochs"]),
                parameters=float(row["params_millions"]),
                others={name: float(row[name]) for name in OTHERS if row.get(name)},
            )
            for row in csv.DictReader(file)
        }


def digits(genotype: Genotype) -> str:
    """Return the table's name of a genotype's cell."""
    edges = to_arch_string(genotype.architectures[0]).replace("+", "").strip("|").split("|")
    return "".join(str(DIGITS.index(edge.split("~")[0])) for edge in edges if edge)


def arch_string(name: str) -> str:
    """Return the published notation of a cell, from its digits."""
    edges = [DIGITS[int(digit)] for digit in name]
    nodes = (edges[:1], edges[1:3], edges[3:])
    return "+".join(
        "|" + "|".join(f"{edge}~{source}" for source, edge in enumerate(node)) + "|"
        for node in nodes
    )


def percentile(table: Mapping[str, Trained], name: str) -> float:
    """Return the percentage of the other cells with as many parameters that are worse.

    Equal cells count half. 50 is chance, because cells of equal size are compared.
    """
    own = table[name]
    others = [
        one.test for key, one in table.items() if key != name and one.parameters == own.parameters
    ]
    if not others:
        return 50.0
    worse = sum((one < own.test) + (one == own.test) / 2 for one in others)
    return 100 * worse / len(others)


def best_as_small(table: Mapping[str, Trained], name: str) -> float:
    """Return the accuracy of the best cell with at most as many parameters, in per cent."""
    own = table[name]
    return max(one.test for one in table.values() if one.parameters <= own.parameters)


def random_search(table: Mapping[str, Trained], candidates: int) -> float:
    """Return the expected accuracy of the best of n random cells, chosen by `short`."""
    ranked = sorted(table.values(), key=lambda one: one.short, reverse=True)
    count = len(ranked)
    return sum(
        one.test
        * (((count - rank) / count) ** candidates - ((count - rank - 1) / count) ** candidates)
        for rank, one in enumerate(ranked)
    )
