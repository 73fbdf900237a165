"""How well a few epochs of training rank the cells of NAS-Bench-201, from scratch and inherited.

    python benchmarks/early.py TABLE [--profile nasbench201] [--seed 0] [--cells 16]
    [--epochs 1,1,2] [--set KEY=VALUE ...] [--folder FOLDER]

TABLE is that of `search_quality.py`. Cells with equally many parameters are drawn, so that size
cannot help: those of the commonest number of parameters whose accuracy in the table is among the
best half. Each is trained as a finalist of search is, in rounds of `--epochs` epochs each with a
schedule of its own: once from the weights of a supernet that warmup trained, once from fresh ones.

Prints Kendall's tau between the table and the accuracy on held-out images after each round, and
that of the supernet before any of them was trained; then a JSON line. Results stay in FOLDER.
"""

import argparse
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import torch
from cached import SOURCE, assignment, code_digest, run_stages
from nasbench201_table import Trained, arch_string, read_table
from rich.console import Console
from rich.table import Table
from scipy.stats import kendalltau

from pipeline.alternating import state as states
from pipeline.batches.randomness import generator
from pipeline.harness.params_file import parse_params
from pipeline.params import Params
from pipeline.running.overrides import compose
from pipeline.searching.finalists import enter
from pipeline.searching.finals import train_epoch
from pipeline.space.checkpoint import read_checkpoint
from pipeline.space.genotype import Genotype
from pipeline.space.network import Network, initialize
from pipeline.space.spaces.nasbench201 import from_arch_string
from pipeline.supernet.evaluation import evaluate_genotype
from pipeline.supernet.supernet import SupernetContext, read_context

INHERITED, FRESH = "from the supernet's weights", "from scratch"


def drawn(table: Mapping[str, Trained], count: int, seed: int) -> list[str]:
    """Return the digits of good cells with equally many parameters."""
    [(size, _)] = Counter(one.parameters for one in table.values()).most_common(1)
    alike = sorted(name for name, one in table.items() if one.parameters == size)
    middle = median(table[name].test for name in alike)
    good = [name for name in alike if table[name].test >= middle]
    order = torch.randperm(len(good), generator=generator(seed, "benchmark", "cells")).tolist()
    return [good[index] for index in order[:count]]


def genotype_of(name: str) -> Genotype:
    """Return the genotype of a cell, given its digits."""
    return Genotype(space="nasbench201", architectures=(from_arch_string(arch_string(name)),))


def rounds_of(
    name: str, network: Network, context: SupernetContext, params: Params, epochs: Sequence[int]
) -> list[float]:
    """Train one cell; return its accuracy on held-out images after each round."""
    finalist, done, found = enter(0, genotype_of(name), network, context), 0, []
    for count in epochs:
        search = params.search.model_copy(update={"finalist_epochs": count})
        for epoch in range(count):
            train_epoch(context, search, finalist, number=done + epoch, done=epoch)
        done += count
        found.append(finalist.accuracy)
    return found


def measure(table: Mapping[str, Trained], arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Return tau after each round, by the weights that the cells begin with."""
    changes = {**dict(assignment(one) for one in arguments.set), "seed": arguments.seed}
    text = compose(SOURCE, arguments.profile, changes)
    folder = arguments.folder.resolve()
    stages = run_stages(folder, text, "warmup")
    params = parse_params(Params, text, "params")
    context = read_context(stages["prepare"], torch.device("cpu"), params)
    warmed = read_checkpoint(stages["warmup"] / "checkpoint.safetensors")
    state = states.start(warmed, context, params.search)
    epochs = [int(one) for one in arguments.epochs.split(",")]
    names = drawn(table, arguments.cells, arguments.seed)
    truth = [table[name].test for name in names]
    key = json.dumps([text, epochs, code_digest("search")])
    file = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:12]}.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    known = {(one[0], one[1]): one[2] for one in map(json.loads, lines)}
    found: dict[str, list[list[float]]] = {}
    for kind in (INHERITED, FRESH):
        network = state.network
        if kind == FRESH:
            initialize(network, generator(arguments.seed, "benchmark", "weights"))
        for name in names:
            if (kind, name) not in known:
                before = one_shot(network, name, context)
                after = rounds_of(name, network, context, params, epochs)
                known[kind, name] = [before, *after]
                with file.open("a", encoding="utf-8") as results:
                    results.write(json.dumps([kind, name, known[kind, name]]) + "\n")
                print(kind, name, f"{table[name].test:.2f}", known[kind, name], flush=True)
        found[kind] = [known[kind, name] for name in names]
    return {
        kind: [float(kendalltau(column, truth).statistic) for column in zip(*rows, strict=True)]
        for kind, rows in found.items()
    }


def one_shot(network: Network, name: str, context: SupernetContext) -> float:
    """Return the accuracy of a cell with the weights as they are."""
    images, held_out = context.images, context.validation
    return evaluate_genotype(network, genotype_of(name), images, held_out, context.training)[1]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--profile", default="nasbench201")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cells", type=int, default=16)
    parser.add_argument("--epochs", default="1,1,2", help="epochs of each round")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--folder", type=Path, default=Path(".aso-se/early"))
    arguments = parser.parse_args()
    found = measure(read_table(arguments.table), arguments)
    table = Table("tau with the table", "before", *(f"+ {x}" for x in arguments.epochs.split(",")))
    for kind, taus in found.items():
        table.add_row(kind, *(f"{tau:.2f}" for tau in taus))
    Console(stderr=True, width=120).print(table)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
