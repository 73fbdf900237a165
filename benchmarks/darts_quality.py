"""Quality of the cells that search finds in the DARTS space, predicted from published cells.

    python benchmarks/darts_quality.py ROWS [--profile cifar10] [--seeds 0,1,2]
    [--set KEY=VALUE ...] [--folder FOLDER]

ROWS is a csv of genotypes with the columns `normal`, `reduction` (two words per node,
`operation<source`), `validation_accuracy` in per cent and `params_millions`. They come from the
whole DARTS space: 4 nodes, 2 edges per node, seven operations besides none. For each seed the
stages prepare, warmup and search run unchanged; they do not see the rows.

A ridge regression from the structure of a genotype to its accuracy is fitted to the rows; Kendall's
tau of its cross-validated predictions is printed. It gives the percentile of each found genotype
among random ones within 3 % of its parameters: 50 is chance, and size cannot help. The sign test
asks whether more seeds than chance are above 50. The found genotypes have not been trained in this
way, so this is a prediction. With more than four skip connections in the normal cell it is outside
the range of the rows, and is marked.

Results stay in FOLDER and are not computed again. Prints a table and a JSON line.
"""

import argparse
import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cached import SOURCE, assignment, run_stages, spread
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.stats import binomtest, kendalltau
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.running.overrides import compose
from pipeline.space import genotype as genotypes
from pipeline.space.genotype import Architecture

OPERATIONS = (
    *("max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5"),
    *("dil_conv_3x3", "dil_conv_5x5"),
)
NODES, KEPT, INPUTS = 4, 2, 2
EDGES = tuple((source, node) for node in range(NODES) for source in range(node + INPUTS))
SKIP = OPERATIONS.index("skip_connect")
MOST_SKIPS = 4
RANDOM, NEAR = 20_000, 0.03
"""Number of random genotypes, and largest relative difference of parameters in a comparison."""

Cell = tuple[tuple[int, int, int], ...]
"""Kept edges, each as (node, source, operation)."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A found genotype. predicted: accuracy in per cent. skips: number in the normal cell."""

    seed: int
    predicted: float
    millions: float
    percentile: float
    skips: int


def cell_of_row(text: str) -> Cell:
    """Return the kept edges of a text such as 'sep_conv_3x3<0 skip_connect<1 ...'."""
    words = [word.split("<") for word in text.split()]
    return tuple(
        (number // KEPT, int(source), OPERATIONS.index(operation))
        for number, (operation, source) in enumerate(words)
    )


def cell_of(architecture: Architecture) -> Cell:
    """Return the kept edges of a found cell."""
    return tuple(
        (node, gene.source, OPERATIONS.index(gene.operation))
        for node, genes in enumerate(architecture.nodes)
        for gene in genes
    )


def random_cell(source: np.random.Generator) -> Cell:
    """Draw a cell: two sources for each node, with an operation each."""
    return tuple(
        (node, int(chosen), int(source.integers(len(OPERATIONS))))
        for node in range(NODES)
        for chosen in np.sort(source.choice(node + INPUTS, KEPT, replace=False))
    )


def counts(cells: Sequence[Cell]) -> list[int]:
    """Return how often each cell has each operation; parameters are linear in these numbers."""
    return [
        sum(operation == wanted for *_, operation in cell)
        for cell in cells
        for wanted in range(len(OPERATIONS))
    ]


def structure(cells: Sequence[Cell]) -> list[float]:
    """Return the features that predict accuracy: operations, their places, and cell shape."""
    found: list[float] = [*counts(cells)]
    for cell in cells:
        places = np.zeros((len(EDGES), len(OPERATIONS)))
        depth = [0] * INPUTS
        for node in range(NODES):
            depth.append(1 + max(depth[source] for at, source, _ in cell if at == node))
        for node, source, operation in cell:
            places[EDGES.index((source, node)), operation] = 1
        used = {source for _, source, _ in cell}
        loose = sum(node + INPUTS not in used for node in range(NODES))
        found += [max(depth), float(np.mean(depth[INPUTS:])), loose]
        found += [sum(source < INPUTS for _, source, _ in cell)]
        found += [sum(operation == SKIP for *_, operation in cell) ** 2]
        found += [*places.ravel(), *places.sum(1)]
    return found


class Judge:
    """A regression fitted to rows, and random genotypes to compare with."""

    def __init__(self, rows: Sequence[dict[str, str]]) -> None:
        """Fit the regression; `tau` is Kendall's tau of its predictions for held-out rows."""
        pairs = [(cell_of_row(row["normal"]), cell_of_row(row["reduction"])) for row in rows]
        accuracy = np.array([float(row["validation_accuracy"]) for row in rows])
        size = np.array([float(row["params_millions"]) for row in rows])
        self._of_size = np.linalg.lstsq(self._sizes(pairs), size, rcond=None)[0]
        model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(0, 5, 11)))
        known = np.array([structure(pair) for pair in pairs])
        held_out = cross_val_predict(model, known, accuracy, cv=min(10, len(rows)))
        self.tau = float(kendalltau(held_out, accuracy).statistic)
        self._model = model.fit(known, accuracy)
        source = np.random.default_rng(0)
        pool = [(random_cell(source), random_cell(source)) for _ in range(RANDOM)]
        self._pool_sizes = self._sizes(pool) @ self._of_size
        self._pool = self._model.predict(np.array([structure(pair) for pair in pool]))

    @staticmethod
    def _sizes(pairs: Sequence[Sequence[Cell]]) -> NDArray[np.float64]:
        return np.array([[*counts(pair), 1] for pair in pairs], float)

    def judge(self, seed: int, cells: Sequence[Cell]) -> Judged:
        """Return the rank of a genotype among random ones of its size."""
        millions = float((self._sizes([cells]) @ self._of_size)[0])
        predicted = float(self._model.predict(np.array([structure(cells)]))[0])
        near = self._pool[np.abs(self._pool_sizes / millions - 1) < NEAR]
        return Judged(
            seed=seed,
            predicted=predicted,
            millions=millions,
            percentile=float(100 * (near < predicted).mean()) if len(near) else float("nan"),
            skips=sum(operation == SKIP for *_, operation in cells[0]),
        )


def search(seed: int, arguments: argparse.Namespace, changes: dict[str, Any]) -> tuple[Cell, ...]:
    """Search once; return the normal cell and the reduction cell."""
    space = {"network.nodes": NODES, "network.edges_per_node": KEPT, "network.share_logits": True}
    text = compose(SOURCE, arguments.profile, {**changes, **space, "seed": seed})
    done = run_stages(arguments.folder.resolve(), text, "search")
    document = json.loads((done["search"] / "genotype.json").read_text(encoding="utf-8"))
    return tuple(map(cell_of, genotypes.from_dict(document).architectures))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", type=Path)
    parser.add_argument("--profile", default="cifar10")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--folder", type=Path, default=Path(".aso-se/darts_quality"))
    arguments = parser.parse_args()
    with arguments.rows.open(encoding="utf-8") as file:
        judge = Judge(list(csv.DictReader(file)))
    changes = dict(assignment(one) for one in arguments.set)
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    found = [judge.judge(seed, search(seed, arguments, changes)) for seed in seeds]
    table = Table(
        "seed", "predicted accuracy %", "parameters, M", "percentile of its size", "skips"
    )
    for one in found:
        outside = ", outside the rows" if one.skips > MOST_SKIPS else ""
        table.add_row(
            *(str(one.seed), f"{one.predicted:.2f}", f"{one.millions:.2f}"),
            *(f"{one.percentile:.0f}", f"{one.skips}{outside}"),
        )
    percentiles = [one.percentile for one in found]
    above = sum(one > 50 for one in percentiles)
    sign = float(binomtest(above, len(found)).pvalue)
    console = Console(stderr=True, width=120)
    console.print(table)
    console.print(
        f"Percentile {spread(percentiles, '.0f')}; {above} of {len(found)} seeds above 50"
        f" (sign test: p = {sign:.3f}). Tau of the judge, cross-validated: {judge.tau:.2f}."
    )
    print(json.dumps({"found": [asdict(one) for one in found], "p": sign, "tau": judge.tau}))


if __name__ == "__main__":
    main()
