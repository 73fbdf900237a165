"""How much architectures of a space differ at equal size, and how early that can be seen.

    python benchmarks/architectures.py --parameters 100000 [--profile PROFILE] [--random 16]
    [--trainings 1] [--seed 0] [--uniform] [--resnet] [--set KEY=VALUE ...] [--folder FOLDER]

Random architectures are scaled to the number of parameters and trained from scratch by the recipe
of `optimize`, each `--trainings` times with other weights and another order of the images. With
--uniform also one architecture for each operation, which all its edges have; with --resnet a
ResNet-20.

Prints the test accuracy of each; how far accuracies spread between architectures and between
trainings of one; and Kendall's tau of the validation accuracy after 1, 2, 4, 8 ... epochs with the
test accuracy at the end; then a JSON line. Each result is written to FOLDER as soon as it is there,
and is not computed again.
"""

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from cached import SOURCE, assignment, code_digest, run_stages
from rich.console import Console
from rich.table import Table
from scipy.stats import kendalltau
from torch import nn

from pipeline.batches.images import read_images
from pipeline.batches.randomness import generator
from pipeline.harness.params_file import parse_params
from pipeline.harness.records import Row
from pipeline.optimizing.optimize import Optimize, Watch
from pipeline.params import Params
from pipeline.prepared.facts import read_facts
from pipeline.referencing.random_architecture import of_size, random_genotype
from pipeline.referencing.resnet import build_resnet, width_of_size
from pipeline.referencing.trained import parameters
from pipeline.running.overrides import compose
from pipeline.searching.candidates import of_operations
from pipeline.searching.entering import reference
from pipeline.space.blueprint import Blueprint, plan
from pipeline.space.genotype import Genotype
from pipeline.space.network import build
from pipeline.space.space import NONE
from pipeline.training.context import Context
from pipeline.training.evaluation import evaluate


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained network. validation: accuracy after each epoch. seconds: of all its epochs."""

    name: str
    training: int
    parameters: int
    seconds: float
    validation: list[float]
    test: float


def train(
    name: str, training: int, fresh: Callable[[], nn.Module], params: Params, prepare: Path
) -> Trained:
    """Train one network as optimize does, on the training images alone."""
    device = torch.device("cpu")
    context = Context(
        images=read_images(prepare, "train", device),
        classes=len(read_facts(prepare).classes),
        training=params.training,
        augmentation=params.augmentation,
        seed=params.seed + training,
    )
    size = params.training.evaluation_batch_size
    watch = Watch(images=read_images(prepare, "validation", device), batch_size=size)
    phase = Optimize(
        context=context, params=params.optimize, fresh=lambda: (fresh(), 0), watch=watch
    )
    state, rows, began = phase.begin(), list[Row](), time.perf_counter()
    for row in phase.train(state, 1.0, rows):
        rows.append(row)
    seconds = time.perf_counter() - began
    _, accuracy = evaluate(state.result, read_images(prepare, "test", device), size)
    return Trained(
        name=name,
        training=training,
        parameters=parameters(state.result),
        seconds=seconds,
        validation=[float(row["validation_accuracy"]) for row in rows],
        test=100 * accuracy,
    )


def networks(
    params: Params, prepare: Path, arguments: argparse.Namespace
) -> Iterator[tuple[str, Callable[[torch.Generator], nn.Module]]]:
    """Yield the name and the builder of every network."""
    facts = read_facts(prepare)
    classes, channels = len(facts.classes), facts.channels
    start = plan(params.network, image_channels=channels, classes=classes, image_size=facts.height)
    chosen: dict[str, Genotype | None] = {}
    if arguments.uniform:
        for operation in start.operations:
            if operation != NONE:
                alike = (operation,) * len(start.cells)
                chosen[f"all {operation}"] = of_operations(alike, start)
        chosen["reference of the space"] = reference(start)
    found = {name: genotype for name, genotype in chosen.items() if genotype is not None}
    for number in range(arguments.random):
        source = generator(params.seed, "benchmark", "architecture", number)
        found[f"random {number}"] = random_genotype(start, params.network, source)
    for name, genotype in found.items():
        blueprint = of_size(start, genotype, arguments.parameters)
        yield name, builder(blueprint, genotype)
    if arguments.resnet:
        stem, device = start.stem_factor, torch.device("cpu")
        width = width_of_size(
            arguments.parameters, image_channels=channels, classes=classes, stem=stem
        )
        build = partial(build_resnet, channels, width, classes, stem=stem, device=device)
        yield "ResNet-20", lambda source: build(generator=source)


def builder(blueprint: Blueprint, genotype: Genotype) -> Callable[[torch.Generator], nn.Module]:
    """Return a function from a source of weights to the network."""
    return lambda source: build(blueprint, genotype, generator=source)


def measured(arguments: argparse.Namespace) -> list[Trained]:
    """Train all networks, those first that were not trained before."""
    changes = {**dict(assignment(one) for one in arguments.set), "seed": arguments.seed}
    text = compose(SOURCE, arguments.profile, changes)
    folder = arguments.folder.resolve()
    prepare = run_stages(folder, text, "prepare")["prepare"]
    params = parse_params(Params, text, "params")
    key = json.dumps([text, arguments.parameters, code_digest("optimize")])
    file = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:12]}.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    found = {(one.name, one.training): one for one in (Trained(**json.loads(x)) for x in lines)}
    for training in range(arguments.trainings):
        for name, make in networks(params, prepare, arguments):
            if (name, training) in found:
                continue
            source = generator(params.seed + training, "benchmark", "weights", name)
            one = train(name, training, partial(make, source), params, prepare)
            found[name, training] = one
            with file.open("a", encoding="utf-8") as results:
                results.write(json.dumps(asdict(one)) + "\n")
            print(f"{name}, training {training}: {one.test:.2f} in {one.seconds:.0f} s", flush=True)
    return list(found.values())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parameters", type=int, required=True)
    parser.add_argument("--profile", default="image_folder")
    parser.add_argument("--random", type=int, default=16)
    parser.add_argument("--trainings", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--uniform", action="store_true")
    parser.add_argument("--resnet", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--folder", type=Path, default=Path(".aso-se/architectures"))
    arguments = parser.parse_args()
    found = measured(arguments)
    report(found)


def report(found: list[Trained]) -> None:
    """Print the accuracies, their spread, and how early they can be seen."""
    console = Console(stderr=True, width=120)
    marks = [2**power for power in range(20) if 2**power < len(found[0].validation)]
    table = Table(
        "network", "test accuracy %", "parameters", "seconds", *(f"after {mark}" for mark in marks)
    )
    by_name: dict[str, list[Trained]] = {}
    for one in found:
        by_name.setdefault(one.name, []).append(one)
    means = {name: mean(one.test for one in several) for name, several in by_name.items()}
    for name in sorted(means, key=lambda name: -means[name]):
        several = by_name[name]
        table.add_row(
            name,
            " ".join(f"{one.test:.2f}" for one in several),
            f"{several[0].parameters:,}",
            f"{mean(one.seconds for one in several):.0f}",
            *(f"{100 * mean(one.validation[mark - 1] for one in several):.1f}" for mark in marks),
        )
    console.print(table)
    result: dict[str, Any] = {}
    drawn = [means[name] for name in means if name.startswith("random")]
    if len(drawn) > 1:
        result["random_mean"], result["random_deviation"] = mean(drawn), stdev(drawn)
    if len(means) > 1:
        first = [several[0] for several in by_name.values()]
        result["tau"] = {
            mark: float(
                kendalltau([one.validation[mark - 1] for one in first], [*means.values()]).statistic
            )
            for mark in marks
        }
    repeated = [several for several in by_name.values() if len(several) > 1]
    if repeated:
        squares = [stdev(one.test for one in several) ** 2 for several in repeated]
        result["training_deviation"] = mean(squares) ** 0.5
    console.print(result)
    print(json.dumps({"trained": [asdict(one) for one in found], **result}))


if __name__ == "__main__":
    main()
