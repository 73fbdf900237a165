"""How much rounding changes what is found: the same seeds with one thread and with two.

    python benchmarks/threads.py [--profile digits] [--seeds 0,1,2] [--set KEY=VALUE ...]
    [--folder FOLDER]

The number of threads changes the order of sums and so their last bits. For each seed the stages up
to growth run with one and with two threads. Prints for both whether the normal cell has weights (a
cell of pooling and skip connections has none, in `residual` a chain without a layer), the share of
kept edges that have the same operation, and the validation accuracy at the end of growth; then a
JSON line. Results stay in FOLDER and are not computed again.
"""

import argparse
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cached import SOURCE, assignment, metrics, run_stages, spread
from rich.console import Console
from rich.table import Table

from pipeline.running.overrides import compose
from pipeline.space import genotype as genotypes
from pipeline.space.genotype import Genotype
from pipeline.space.layers import Convolution, DepthwiseConvolution, Strip
from pipeline.space.registry import SPACES

THREADS = (1, 2)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The genotypes of one seed. weighted: whether the normal cells have weights, by threads.

    same: share of the edges kept by either genotype on which both have the same operation.
    accuracy: at the end of growth, in per cent, by threads.
    """

    seed: int
    weighted: tuple[bool, ...]
    same: float
    accuracy: tuple[float, ...]


def genes(genotype: Genotype) -> dict[tuple[int, int, int], str]:
    """Return the operation of every kept edge, by architecture, node and source."""
    return {
        (index, node, gene.source): gene.operation
        for index, architecture in enumerate(genotype.architectures)
        for node, kept in enumerate(architecture.nodes)
        for gene in kept
    }


def has_weights(genotype: Genotype) -> bool:
    """Whether any operation of the normal cells is a convolution."""
    space = SPACES[genotype.space]
    return any(
        isinstance(layer, Convolution | DepthwiseConvolution | Strip)
        for one in genotype.architectures
        if "reduction" not in one.name
        for kept in one.nodes
        for gene in kept
        for layer in space.operation(gene.operation).layers or ()
    )


def compare(seed: int, arguments: argparse.Namespace, changes: dict[str, Any]) -> Compared:
    """Run one seed with each number of threads."""
    text = compose(SOURCE, arguments.profile, {**changes, "seed": seed})
    found, accuracies = [], []
    for threads in THREADS:
        os.environ["OMP_NUM_THREADS"] = str(threads)
        folder = arguments.folder.resolve() / f"{threads}"
        done = run_stages(folder, text, "growth")["growth"]
        document = json.loads((done / "genotype.json").read_text(encoding="utf-8"))
        found.append(genotypes.from_dict(document))
        accuracies.append(100 * metrics(done)["validation_accuracy"])
    one, other = map(genes, found)
    edges = one.keys() | other.keys()
    return Compared(
        seed=seed,
        weighted=tuple(map(has_weights, found)),
        same=sum(one.get(edge) == other.get(edge) for edge in edges) / len(edges),
        accuracy=tuple(accuracies),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="digits")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--folder", type=Path, default=Path(".aso-se/threads"))
    arguments = parser.parse_args()
    changes = dict(assignment(one) for one in arguments.set)
    found = [compare(int(seed), arguments, changes) for seed in arguments.seeds.split(",")]
    table = Table("seed", "weights: 1 thread, 2", "same operations", "accuracy %: 1 thread, 2")
    for one in found:
        table.add_row(
            str(one.seed),
            ", ".join("yes" if has else "no" for has in one.weighted),
            f"{one.same:.0%}",
            ", ".join(f"{accuracy:.1f}" for accuracy in one.accuracy),
        )
    console = Console(stderr=True, width=120)
    console.print(table)
    differ = sum(len(set(one.weighted)) > 1 for one in found)
    console.print(
        f"{differ} of {len(found)} seeds differ in whether the normal cell has weights; the same"
        f" operations on {spread([100 * one.same for one in found], '.0f')} % of the edges."
    )
    print(json.dumps([asdict(one) for one in found]))


if __name__ == "__main__":
    main()
