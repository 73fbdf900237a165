"""The pipeline against the references that a user could take instead, over several seeds.

    python benchmarks/references.py [--profile digits] [--seeds 0,1,2] [--set KEY=VALUE ...]
    [--folder FOLDER]

For each seed the whole pipeline runs, from the split of the data to the references, which are
trained and tested on the same images; all randomness comes from the seed. A further reference is a
plain network of four 3x3 convolutions with about 66,000 parameters, trained as in optimize, for the
same epochs.

Prints for each the mean accuracy on the test images with its standard deviation over the seeds, and
the paired difference to the pipeline: its mean, the number of seeds on which the pipeline is ahead
and behind, and the probabilities of no difference (t-test, Wilcoxon's). Then prints a JSON line.
Results stay in FOLDER and are not computed again.
"""

import argparse
import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import torch
from cached import SOURCE, assignment, code_digest, metrics, run_stages, spread
from paired import describe, paired
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from pipeline.batches.images import read_images
from pipeline.batches.randomness import generator
from pipeline.comparison.references import read_references
from pipeline.harness.params_file import parse_params
from pipeline.harness.records import Row
from pipeline.optimizing.optimize import Optimize
from pipeline.params import Params
from pipeline.running.overrides import compose
from pipeline.space.batch_norm import BatchNorm
from pipeline.space.network import initialize
from pipeline.space.operations import convolution
from pipeline.training.context import Context
from pipeline.training.evaluation import evaluate

PIPELINE = "the pipeline"
PLAIN = "plain network of four convolutions"
WIDTH = 32
"""Number of channels of its first two convolutions; the others have twice as many."""


class Plain(nn.Module):
    """Four 3x3 convolutions, the resolution halved once, and a linear head."""

    paths = 0
    """Paths that drop path may drop."""

    def __init__(self, image_channels: int, classes: int) -> None:
        super().__init__()
        widths = (image_channels, WIDTH, WIDTH, 2 * WIDTH, 2 * WIDTH)
        layers: list[nn.Module] = []
        for number, (inputs, outputs) in enumerate(pairwise(widths)):
            if number == 2:
                layers.append(nn.MaxPool2d(2))
            layers += [convolution(inputs, outputs, 3), BatchNorm(outputs), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(2 * WIDTH, classes)

    def forward(self, images: Tensor, kept_paths: object = None) -> Tensor:  # noqa: ARG002 - none
        """(N, C, H, W) -> (N, classes) logits."""
        logits: Tensor = self.head(self.features(images).mean((2, 3)))
        return logits


def plain_accuracy(params: Params, prepared: Path) -> float:
    """Train the plain network; return its accuracy on the test images, in per cent."""
    images = read_images(prepared, "train", "cpu", through=params.optimize.through)
    context = Context(
        images=images,
        classes=int(images.labels.max()) + 1,
        training=params.training,
        augmentation=params.augmentation,
        seed=params.seed,
    )

    def fresh() -> tuple[Plain, int]:
        network = Plain(context.channels, context.classes)
        initialize(network, generator(params.seed, "benchmark", "plain"))
        return network.to(memory_format=torch.channels_last), 0

    phase = Optimize(context=context, params=params.optimize, fresh=fresh)
    state = phase.begin()
    rows: list[Row] = []
    rows.extend(phase.train(state, 1.0, rows))
    test = read_images(prepared, "test", "cpu")
    return 100 * evaluate(state.result, test, params.training.evaluation_batch_size)[1]


def measure(seed: int, arguments: argparse.Namespace) -> dict[str, float]:
    """Run one seed; return the test accuracies by name, in per cent."""
    changes = {**dict(assignment(one) for one in arguments.set), "seed": seed}
    text = compose(SOURCE, arguments.profile, changes)
    folder = arguments.folder.resolve()
    done = run_stages(folder, text, "reference")
    found = {PIPELINE: 100 * metrics(done["derive"])["test_accuracy"]}
    references = read_references(done["reference"] / "references.json")
    found |= {one.title: 100 * one.test_accuracy for one in references.compared}
    kept = done["prepare"] / "plain.json"
    key = json.dumps([text, WIDTH, code_digest("reference")])
    known: Mapping[str, float] = json.loads(kept.read_text()) if kept.exists() else {}
    if key not in known:
        params = parse_params(Params, text, "params")
        known = {key: plain_accuracy(params, done["prepare"])}
        kept.write_text(json.dumps(known))
    return {**found, PLAIN: known[key]}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="digits")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--folder", type=Path, default=Path(".aso-se/references"))
    arguments = parser.parse_args()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    rows = [measure(seed, arguments) for seed in seeds]
    by_name = {name: [row[name] for row in rows] for name in rows[0]}
    table = Table("", "test accuracy %", "pipeline ahead by", "ahead / behind", "p: t, Wilcoxon")
    for name, accuracies in by_name.items():
        beside = describe(paired(by_name[PIPELINE], accuracies)) if name != PIPELINE else ()
        table.add_row(name, spread(accuracies), *beside)
    Console(stderr=True, width=120).print(table)
    print(json.dumps({"seeds": seeds, "accuracies": by_name}))


if __name__ == "__main__":
    main()
