"""What search and growth are worth: the found network beside networks that were not searched.

    python benchmarks/controls.py [--profile cifar10-quick] [--seeds 0,1,2] [--random 2]
    [--set KEY=VALUE ...] [--folder FOLDER]

For each seed the whole pipeline runs, up to the test; then once more with `growth.kinds` empty, for
as many epochs in every stage: that network is smaller. Both inherit weights from the supernet.

Three kinds of networks are trained from scratch, by the recipe and for the epochs of `optimize`
alone, on the same images: the found architecture, random ones, and one of nothing but skip
connections. They have the cells of the grown network; their channels are chosen such that they have
about as many parameters as it.

Prints the accuracies after each phase, those of all networks on the test images (mean ± standard
deviation over the seeds, and over the random networks), and a JSON line. What was computed stays in
FOLDER and is not computed again.
"""

import argparse
import hashlib
import json
from bisect import bisect_left
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from cached import SOURCE, assignment, metrics, run_stage, run_stages, spread
from rich.console import Console
from rich.table import Table
from torch import Tensor

from pipeline.exchange.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from pipeline.randomness import generator
from pipeline.running.overrides import compose
from pipeline.space.blueprint import Blueprint
from pipeline.space.cost import cost
from pipeline.space.network import build
from pipeline.space.relaxation import decide

PHASES = {
    "warmup": "validation_accuracy",
    "search": "validation_accuracy",
    "growth": "validation_accuracy",
    "derive": "test_accuracy",
}
"""What is shown of each stage."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A network that was trained to the end and tested. accuracy: in per cent."""

    seed: int
    name: str
    accuracy: float
    parameters: int
    mflops: float


def scaled(blueprint: Blueprint, channels: int) -> Blueprint:
    """Return the same cells with about `channels` in the first and the others in proportion.

    All are even, as what halves a resolution wants them.
    """
    factor = channels / blueprint.cells[0].channels

    def even(width: int) -> int:
        return 2 * max(1, round(width * factor / 2))

    return replace(
        blueprint,
        stem_channels=even(blueprint.stem_channels),
        cells=tuple(replace(cell, channels=even(cell.channels)) for cell in blueprint.cells),
    )


def of_size(blueprint: Blueprint, logits: Tensor, parameters: int) -> Blueprint:
    """Return the blueprint whose most likely network comes nearest to so many parameters."""
    genotype = decide(logits, blueprint)
    widths = range(2, 1025)

    def count(channels: int) -> int:
        # Of images of any size: parameters do not depend on it.
        return cost(scaled(blueprint, channels), genotype, (8, 8)).parameters

    above = bisect_left(widths, parameters, key=count)
    nearest = min(widths[max(above - 1, 0) : above + 1], key=lambda c: abs(count(c) - parameters))
    return scaled(blueprint, nearest)


def control(folder: Path, grown: Path, name: str, *, parameters: int, seed: int) -> Path:
    """Write what growth would have written with another architecture; return where.

    grown: results of growth. name: 'found', 'skip connections' or 'random N'.
    """
    checkpoint = read_checkpoint(grown / "checkpoint.safetensors")
    blueprint, logits = checkpoint.network.blueprint, checkpoint.searched()
    blueprint = replace(
        blueprint, max_skips=None if name == "skip connections" else blueprint.max_skips
    )
    source = generator(seed, "benchmark", name)
    if name == "skip connections":
        logits = torch.zeros_like(logits)
        logits[..., blueprint.skip] = 1
    elif name != "found":
        logits = torch.randn(logits.shape, generator=source)
    if name != "found":
        blueprint = of_size(blueprint, logits, parameters)
    key = json.dumps([blueprint.to_dict(), logits.tolist(), grown.name])
    digest = hashlib.sha256(key.encode()).hexdigest()
    out = folder / f"{name.replace(' ', '-')}-{digest[:12]}"
    out.mkdir(exist_ok=True)
    network = build(blueprint, generator=source)
    write_checkpoint(
        out / "checkpoint.safetensors",
        Checkpoint(network=network, logits=logits, facts=checkpoint.facts),
    )
    return out


def tested(seed: int, name: str, derived: Path) -> Trained:
    """Read the results of derive."""
    found = metrics(derived)
    return Trained(
        seed=seed,
        name=name,
        accuracy=100 * found["test_accuracy"],
        parameters=found["parameters"],
        mflops=found["mflops"],
    )


def measure(
    seed: int, arguments: argparse.Namespace
) -> tuple[dict[str, float], dict[str, list[Trained]]]:
    """Run one seed; return the accuracies after the phases, in per cent, and the networks."""
    folder = arguments.folder.resolve()
    changes = {**dict(assignment(one) for one in arguments.set), "seed": seed}
    done = run_stages(folder, compose(SOURCE, arguments.profile, changes), "derive")
    phases = {stage: 100 * metrics(done[stage])[key] for stage, key in PHASES.items()}
    unchanged = compose(SOURCE, arguments.profile, {**changes, "growth.kinds": []})
    small = run_stages(folder, unchanged, "derive")
    pipeline = tested(seed, "the pipeline", done["derive"])
    networks = {
        "the pipeline": [pipeline],
        "the pipeline without growth": [tested(seed, "without growth", small["derive"])],
    }
    text = compose(SOURCE, arguments.profile, {**changes, "optimize.from_scratch": True})
    randoms = [f"random {number}" for number in range(arguments.random)]
    for name in ("found", *randoms, "skip connections"):
        start = control(folder, done["growth"], name, parameters=pipeline.parameters, seed=seed)
        trained = run_stage(folder, text, "optimize", done["prepare"], start)
        derived = run_stage(folder, text, "derive", done["prepare"], trained)
        row = "from scratch: " + name.rstrip("0123456789 ")
        networks.setdefault(row, []).append(tested(seed, name, derived))
    return phases, networks


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="cifar10-quick")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--random", type=int, default=2, help="random networks per seed")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--folder", type=Path, default=Path(".aso-se/controls"))
    arguments = parser.parse_args()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    phases, networks = zip(*(measure(seed, arguments) for seed in seeds), strict=True)

    console = Console(stderr=True, width=120)
    table = Table("seed", *PHASES, title="accuracy after each phase, %")
    for seed, row in zip(seeds, phases, strict=True):
        table.add_row(str(seed), *(f"{value:.2f}" for value in row.values()))
    console.print(table)
    rows = {name: [one for seed in networks for one in seed[name]] for name in networks[0]}
    table = Table("network", "test accuracy %", "parameters", "MFLOPs", title="tested")
    for name, found in rows.items():
        table.add_row(
            name,
            spread([one.accuracy for one in found]),
            spread([one.parameters for one in found], ",.0f"),
            spread([one.mflops for one in found], ".1f"),
        )
    console.print(table)
    print(
        json.dumps(
            {
                "phases": dict(zip(seeds, phases, strict=True)),
                "networks": [vars(one) for found in rows.values() for one in found],
            }
        )
    )


if __name__ == "__main__":
    main()
