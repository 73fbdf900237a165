"""Quality of the cells that search finds in NAS-Bench-201, by its table of all trained cells.

    python benchmarks/search_quality.py TABLE [--profile nasbench201] [--seeds 0,1,2]
    [--set KEY=VALUE ...] [--ablation KEY=VALUE,VALUE ...] [--paths 30] [--folder FOLDER]

TABLE is a csv of all cells of NAS-Bench-201 with the columns `ops` (digits for the edges 0→1, 0→2,
1→2, 0→3, 1→3, 2→3; 0 none, 1 skip_connect, 2 nor_conv_1x1, 3 nor_conv_3x3, 4 avg_pool_3x3),
`test_accuracy_200_epochs` and `valid_accuracy_12_epochs`, in per cent, and `params_millions`. For
each seed the stages prepare, warmup and search run unchanged. Their cell is then looked
up, with `cifar100_test_accuracy` and `imagenet16_120_test_accuracy` if the table has them. The
stages do not see the table.

Larger cells are more accurate, so each cell is shown with its percentile among the cells with as
many parameters (50 is chance) and with the best cell that has at most as many. The largest cell,
which needs no search, is listed below.

Also listed are published results and random search, which takes the best of n random cells by their
accuracy after 12 epochs. Its expectation is computed from the table, for the n that takes as many
epochs and for the n that takes as much arithmetic (a reduced search costs far less than its epochs
suggest). `tau` is Kendall's rank correlation between the accuracy of random cells with the
supernet's weights and that of the table.

--set replaces params. --ablation also replaces a param, once per value, and adds a row for each.
Results stay in FOLDER and are not computed again. Prints tables and a JSON line.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from cached import SOURCE, assignment, metrics, run_stages, spread
from nasbench201_table import (
    LARGEST,
    PUBLISHED,
    SHORT_EPOCHS,
    SHORT_IMAGES,
    Trained,
    arch_string,
    best_as_small,
    digits,
    percentile,
    random_search,
    read_table,
)
from rich.console import Console
from rich.table import Table
from scipy.stats import kendalltau

from pipeline.batches.images import read_images
from pipeline.batches.randomness import generator
from pipeline.costing.cost import cost
from pipeline.harness.params_file import parse_params
from pipeline.params import Params
from pipeline.running.overrides import compose
from pipeline.space import genotype as genotypes
from pipeline.space.blueprint import plan
from pipeline.space.checkpoint import read_checkpoint
from pipeline.space.genotype import Genotype
from pipeline.space.spaces.nasbench201 import from_arch_string
from pipeline.supernet.evaluation import evaluate_genotype


@dataclass(frozen=True, kw_only=True)
class Found:
    """Result of one search. Accuracies in per cent, the fall in points, the rest fractions of 1.

    percentile: percentile among the cells with as many parameters, 0 to 100. best_as_small:
    accuracy of the best cell with at most as many. candidates: number of random cells that the same
    arithmetic trains for 12 epochs.
    """

    seed: int
    cell: str
    accuracy: float
    better: int
    percentile: float
    best_as_small: float
    others: Mapping[str, float]
    skips: int
    entropy: float
    max_weight: float
    fall: float
    tau: float
    candidates: float


def search(
    folder: Path, seed: int, arguments: argparse.Namespace, changes: Mapping[str, Any]
) -> tuple[str, Path, Path]:
    """Search once; return the cell's digits, and the folders of data set and search."""
    text = compose(SOURCE, arguments.profile, {**changes, "seed": seed})
    done = run_stages(folder, text, "search")
    document = json.loads((done["search"] / "genotype.json").read_text(encoding="utf-8"))
    return digits(genotypes.from_dict(document)), done["prepare"], done["search"]


def rank_correlation(
    table: Mapping[str, Trained], prepared: Path, searched: Path, *, cells: int, params: Params
) -> float:
    """Return Kendall's tau between one-shot and tabulated accuracies of random cells."""
    network = read_checkpoint(searched / "checkpoint.safetensors").network
    training, validation = (
        read_images(prepared, split, "cpu") for split in ("train", "validation")
    )
    names = sorted(table)
    source = generator(0, "benchmark", "random cells")
    chosen = [names[i] for i in torch.randperm(len(names), generator=source)[:cells].tolist()]
    one_shot = []
    for name in chosen:
        genotype = Genotype(
            space="nasbench201", architectures=(from_arch_string(arch_string(name)),)
        )
        one_shot.append(
            evaluate_genotype(network, genotype, training, validation, params.training)[1]
        )
    return float(kendalltau(one_shot, [table[name].test for name in chosen]).statistic)


def measure(
    table: Mapping[str, Trained],
    folder: Path,
    seed: int,
    arguments: argparse.Namespace,
    changes: Mapping[str, Any],
) -> Found:
    """Search with one seed and look the cell up."""
    name, prepared, searched = search(folder, seed, arguments, changes)
    watched = metrics(searched)
    params = parse_params(Params, (searched / "params.yaml").read_text(encoding="utf-8"), "params")
    accuracy = table[name].test
    return Found(
        seed=seed,
        cell=name,
        accuracy=accuracy,
        better=sum(one.test > accuracy for one in table.values()),
        percentile=percentile(table, name),
        best_as_small=best_as_small(table, name),
        others=table[name].others,
        skips=name.count("1"),
        entropy=watched["entropy_fraction"],
        max_weight=watched["max_weight"],
        fall=100 * watched["drop_at_start"],
        tau=rank_correlation(table, prepared, searched, cells=arguments.paths, params=params),
        candidates=equal_candidates(params, prepared),
    )


def equal_candidates(params: Params, prepared: Path) -> float:
    """Return the number of random cells that the arithmetic of one search trains for 12 epochs.

    Each path of an architecture step counts as a whole weight step, which is too much.

    prepared: folder of the data set.
    """
    genotype = Genotype(
        space="nasbench201", architectures=(from_arch_string(arch_string("333333")),)
    )
    facts = json.loads((prepared / "dataset.json").read_text(encoding="utf-8"))
    sizes = []
    published = parse_params(Params, compose(SOURCE, "nasbench201", {}), "params")
    for one in (params, published):
        side = one.data.image_size
        blueprint = plan(one.network, image_channels=3, classes=10, image_size=side)
        sizes.append(cost(blueprint, genotype, (side, side)).mflops)
    paths = params.search.arch_paths / (params.search.arch_update_freq - 1)
    epochs = params.warmup.epochs + params.search.epochs * (1 + paths)
    images = epochs * sum(facts["counts"]["train"].values())
    return images * sizes[0] / (SHORT_EPOCHS * SHORT_IMAGES * sizes[1])


def rows_of(arguments: argparse.Namespace) -> list[tuple[str, dict[str, Any]]]:
    """Return name and changes of each row: the base, then one row per value of an ablation."""
    base = dict(assignment(one) for one in arguments.set)
    rows = [("as it is", base)]
    for ablation in arguments.ablation:
        key, values = ablation.split("=", 1)
        words = [f"{key}={value}" for value in values.split(",")]
        rows += [(word, {**base, **dict([assignment(word)])}) for word in words]
    return rows


def show_seeds(console: Console, name: str, found: Sequence[Found], cells: int) -> None:
    """Print one line per search."""
    table = Table(
        *(
            "seed",
            "cell",
            "accuracy %",
            "better cells",
            "percentile",
            "best as small",
            *found[0].others,
            "skips",
            "entropy",
            "max weight",
            "fall",
            "tau",
        ),
        title=name,
    )
    for one in found:
        table.add_row(
            *(str(one.seed), arch_string(one.cell), f"{one.accuracy:.2f}"),
            *(f"{one.better} of {cells}", f"{one.percentile:.0f}", f"{one.best_as_small:.2f}"),
            *(f"{other:.2f}" for other in one.others.values()),
            *(str(one.skips), f"{one.entropy:.2f}"),
            *(f"{one.max_weight:.2f}", f"{one.fall:.1f}", f"{one.tau:.2f}"),
        )
    console.print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--profile", default="nasbench201")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--ablation", action="append", default=[], metavar="KEY=VALUE,VALUE")
    parser.add_argument("--paths", type=int, default=30, help="random cells for tau, at least 2")
    parser.add_argument("--folder", type=Path, default=Path(".aso-se/search_quality"))
    arguments = parser.parse_args()
    table = read_table(arguments.table)
    console = Console(stderr=True, width=200)
    results: dict[str, list[Found]] = {}
    folder = arguments.folder.resolve()
    for name, changes in rows_of(arguments):
        results[name] = [
            measure(table, folder, int(seed), arguments, changes)
            for seed in arguments.seeds.split(",")
        ]
        show_seeds(console, name, results[name], len(table))
    text = compose(SOURCE, arguments.profile, rows_of(arguments)[0][1])
    params = parse_params(Params, text, "params")
    candidates = max(1, (params.warmup.epochs + params.search.epochs) // SHORT_EPOCHS)
    equal = results["as it is"][0].candidates
    print(f"One search costs the arithmetic of {equal:.2f} random cells.", file=sys.stderr)
    summary = Table(
        *("search", "accuracy %", "least", "percentile", "entropy", "max weight", "fall, points"),
        "tau",
    )
    for name, found in results.items():
        summary.add_row(
            name,
            spread([one.accuracy for one in found]),
            f"{min(one.accuracy for one in found):.2f}",
            spread([one.percentile for one in found], ".0f"),
            *(spread([getattr(one, key) for one in found]) for key in ("entropy", "max_weight")),
            *(spread([getattr(one, key) for one in found]) for key in ("fall", "tau")),
        )
    references = {
        f"random search, {n} candidates of {SHORT_EPOCHS} epochs": random_search(table, n)
        for n in sorted({1, round(equal) or 1, candidates, 30, 100})
    }
    references["the largest cell, no search"] = table[LARGEST].test
    best = max(one.test for one in table.values())
    for name, accuracy in {**references, **PUBLISHED, "optimum of the table": best}.items():
        summary.add_row(name, f"{accuracy:.2f}")
    console.print(summary)
    print(
        json.dumps(
            {
                "searches": {
                    name: [asdict(one) for one in found] for name, found in results.items()
                },
                "references": {**references, **PUBLISHED, "optimum": best},
            }
        )
    )


if __name__ == "__main__":
    main()
