"""The value of search and growth: the found network against networks that were not searched.

    python benchmarks/controls.py [--profile cifar10-quick] [--seeds 0,1,2] [--random 3]
    [--skip ROW ...] [--set KEY=VALUE ...] [--folder FOLDER]

For each seed the whole pipeline runs, up to the test. It then runs again with `growth.kinds` empty,
for as many epochs in every stage; that network is smaller. And again with logits that hardly learn:
then the architecture, or each finalist, is a random draw, at the same cost.

These networks are trained from scratch by the recipe of `optimize`, on the same images, with about
as many parameters: the found architecture and one with only skip connections, for optimize's
epochs; random architectures (`--random` of them) and a ResNet-20, both for optimize's epochs, for
as many passes over images as all phases made, and for as many CPU seconds as the epochs of all
phases took here. --skip leaves a row out: 'resnet', 'resnet all passes', 'resnet equal seconds',
'random', 'random all passes', 'random equal seconds', 'found from scratch', 'skip connections',
'without growth', 'logits at rest'.

Prints the accuracies after each phase; for each network, the accuracy on the test images (mean ±
standard deviation over the seeds; random architectures of a seed count as their mean), the seconds
that its epochs took, and the paired difference to the pipeline (mean, seeds ahead and behind,
probabilities of no difference by t-test and Wilcoxon's); then a JSON line. Results stay in FOLDER
and are not computed again.
"""

import argparse
import csv
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from cached import SOURCE, assignment, metrics, run_stage, run_stages, spread
from paired import describe, paired
from rich.console import Console
from rich.table import Table

from pipeline.batches.randomness import generator
from pipeline.comparison.references import read_references
from pipeline.deciding.decision import decide
from pipeline.referencing.random_architecture import of_size
from pipeline.running.overrides import compose
from pipeline.space.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from pipeline.space.network import build

PIPELINE = "the pipeline"
PHASES = {
    "warmup": "validation_accuracy",
    "search": "validation_accuracy",
    "growth": "validation_accuracy",
    "derive": "test_accuracy",
}
"""Metric that is shown for each stage."""
TRAINED = {
    "warmup": ["warmup"],
    "search": ["search", "finalists"],
    "growth": ["growth"],
    "optimize": ["optimize"],
}
"""Names of the progress files of each stage that trains."""
DRAWS = 1_000_003
"""Increment of the seed for each further random architecture."""


@dataclass(frozen=True, kw_only=True)
class Tested:
    """A network that was trained to the end and tested.

    accuracy: on the test images, in per cent. seconds: CPU seconds of the epochs that made it.
    epochs: number of epochs of a reference, else 0.
    """

    seed: int
    name: str
    accuracy: float
    parameters: int
    seconds: float
    epochs: int = 0


class Seed:
    """The runs of one seed."""

    def __init__(self, seed: int, arguments: argparse.Namespace) -> None:
        """Run the pipeline."""
        self.seed, self.folder = seed, arguments.folder.resolve()
        self.profile = arguments.profile
        self.set = dict(assignment(one) for one in arguments.set)
        self.done = run_stages(self.folder, self.params(), "derive")
        self.pipeline = self.tested(PIPELINE, self.done)

    def params(self, **changes: Any) -> str:
        """Return a params file with changes; `__` in a name means a dot."""
        dotted = {key.replace("__", "."): value for key, value in changes.items()}
        return compose(SOURCE, self.profile, {**self.set, "seed": self.seed, **dotted})

    def tested(self, name: str, done: dict[str, Path]) -> Tested:
        """Read the metrics of derive. done: results of the stages that made the network."""
        found = metrics(done["derive"])
        return Tested(
            seed=self.seed,
            name=name,
            accuracy=100 * found["test_accuracy"],
            parameters=found["parameters"],
            seconds=sum(
                seconds(done[stage], name)
                for stage, names in TRAINED.items()
                for name in names
                if stage in done
            ),
        )

    def without_growth(self) -> Tested:
        """Run the pipeline without growth, for the same number of epochs."""
        small = run_stages(self.folder, self.params(growth__kinds=[]), "derive")
        return self.tested("the pipeline without growth", small)

    def logits_at_rest(self) -> Tested:
        """Run the pipeline with logits that stay where they begin, near 0 and random."""
        rest = {"search__arch_learning_rate": 1e-9, "network__initial_noise": 0.01}
        drawn = run_stages(self.folder, self.params(**rest), "derive")
        return self.tested("the pipeline, logits at rest", drawn)

    def from_scratch(self, name: str) -> Tested:
        """Train the found architecture, or one of skip connections only, as optimize does."""
        unlimited = {"network__max_skips": None} if name == "skip connections" else {}
        text = self.params(optimize__from_scratch=True, **unlimited)
        start = control(self.folder, self.done["growth"], name, self.pipeline.parameters, self.seed)
        trained = run_stage(self.folder, text, "optimize", self.done["prepare"], start)
        derived = run_stage(self.folder, text, "derive", self.done["prepare"], trained)
        return self.tested(f"from scratch: {name}", {"optimize": trained, "derive": derived})

    def reference(self, kind: str, *, draw: int = 0, **changes: Any) -> Tested:
        """Train a reference; draw: number of the random architecture."""
        text = self.params(reference__kinds=[kind], seed=self.seed + DRAWS * draw, **changes)
        inputs = (self.done["prepare"], self.done["derive"])
        done = run_stage(self.folder, text, "reference", *inputs)
        [one] = read_references(done / "references.json").compared
        return Tested(
            seed=self.seed,
            name=one.title,
            accuracy=100 * one.test_accuracy,
            parameters=one.parameters or 0,
            seconds=seconds(done, f"reference-{kind}"),
            epochs=one.epochs or 0,
        )

    def of_equal_seconds(self, kind: str, *, draw: int = 0) -> Tested:
        """Train a reference for as long as the epochs of all phases took."""
        known = self.reference(f"{kind}_all_passes", draw=draw)
        count = max(1, round(known.epochs * self.pipeline.seconds / known.seconds))
        found = self.reference(kind, draw=draw, optimize__epochs=count)
        return replace(found, name=f"{found.name}, equal seconds")


def control(folder: Path, grown: Path, name: str, parameters: int, seed: int) -> Path:
    """Write what growth would have written with another architecture; return the folder.

    grown: folder of the results of growth. name: 'found' or 'skip connections'.
    """
    checkpoint = read_checkpoint(grown / "checkpoint.safetensors")
    blueprint, logits = checkpoint.network.blueprint, checkpoint.searched()
    if name == "skip connections":
        logits = torch.zeros_like(logits)
        logits[..., blueprint.skip] = 1
        blueprint = of_size(blueprint, decide(logits, blueprint), parameters)
    key = json.dumps([blueprint.to_dict(), logits.tolist(), grown.name])
    digest = hashlib.sha256(key.encode()).hexdigest()
    out = folder / f"{name.replace(' ', '-')}-{digest[:12]}"
    out.mkdir(exist_ok=True)
    network = build(blueprint, generator=generator(seed, "benchmark", name))
    write_checkpoint(
        out / "checkpoint.safetensors",
        Checkpoint.of(network, logits=logits, facts=checkpoint.facts),
    )
    return out


def seconds(out: Path, name: str) -> float:
    """Return the CPU seconds of the epochs in the progress file `name` of the stage in `out`.

    0 if there is no such file. Epochs before an interruption, whose seconds are unknown, count as
    the mean of the others.
    """
    path = out / ".aso-se" / "progress" / f"{name}.tsv"
    if not path.exists():
        return 0.0
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return len(rows) * mean(float(row["cpu_seconds"]) for row in rows if row["cpu_seconds"])


def networks(one: Seed, draws: int, left_out: list[str]) -> Iterator[Tested]:
    """Yield every network of a seed; each is trained when it is requested."""

    def random(train: Callable[..., Tested], kind: str) -> list[Callable[[], Tested]]:
        return [partial(train, kind, draw=draw) for draw in range(draws)]

    rows: dict[str, list[Callable[[], Tested]]] = {
        "resnet": [lambda: one.reference("resnet")],
        "resnet all passes": [lambda: one.reference("resnet_all_passes")],
        "resnet equal seconds": [lambda: one.of_equal_seconds("resnet")],
        "random": random(one.reference, "random_architecture"),
        "random all passes": random(one.reference, "random_architecture_all_passes"),
        "random equal seconds": random(one.of_equal_seconds, "random_architecture"),
        "found from scratch": [lambda: one.from_scratch("found")],
        "skip connections": [lambda: one.from_scratch("skip connections")],
        "without growth": [one.without_growth],
        "logits at rest": [one.logits_at_rest],
    }
    yield one.pipeline
    for name, makers in rows.items():
        if name not in left_out:
            for make in makers:
                yield make()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="cifar10-quick")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--random", type=int, default=3, help="random architectures per seed")
    parser.add_argument("--skip", action="append", default=[], metavar="ROW")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--folder", type=Path, default=Path(".aso-se/controls"))
    arguments = parser.parse_args()
    runs = [Seed(int(seed), arguments) for seed in arguments.seeds.split(",")]
    found = [list(networks(one, arguments.random, arguments.skip)) for one in runs]

    console = Console(stderr=True, width=140)
    table = Table("seed", *PHASES, title="accuracy after each phase, %")
    phases = {
        one.seed: {stage: 100 * metrics(one.done[stage])[key] for stage, key in PHASES.items()}
        for one in runs
    }
    for seed, row in phases.items():
        table.add_row(str(seed), *(f"{value:.2f}" for value in row.values()))
    console.print(table)
    table = Table(
        *("network", "test accuracy %", "parameters", "seconds"),
        *("pipeline ahead by", "ahead / behind", "p: t, Wilcoxon"),
        title="tested",
    )
    for name in dict.fromkeys(one.name for one in found[0]):
        of_seed = [[one for one in tested if one.name == name] for tested in found]
        accuracies = [mean(one.accuracy for one in several) for several in of_seed]
        table.add_row(
            name,
            spread(accuracies),
            spread([mean(one.parameters for one in several) for several in of_seed], ",.0f"),
            spread([mean(one.seconds for one in several) for several in of_seed], ",.0f"),
            *describe(paired([one.pipeline.accuracy for one in runs], accuracies)),
        )
    console.print(table)
    tested = [asdict(one) for several in found for one in several]
    print(json.dumps({"phases": phases, "networks": tested}))


if __name__ == "__main__":
    main()
