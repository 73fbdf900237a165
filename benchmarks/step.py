"""A sampled search step against a fixed network of the same shape, interleaved in one run.

    python benchmarks/step.py [--pairs 12] [--channels 16] [--cells 8] [--nodes 4] [--batch 64]
    [--size 32]

Each pair draws one path and makes two training steps on the same images (forward, backward,
clipped update): the supernet along that path, then a network that has only the path's operations,
a fresh one of the same shape. Everything that a supernet adds (sampling, thousands of idle
parameters, their optimiser) is in the ratio. Peak memory is measured in a process of its own for
each. Prints a table and a JSON line.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.space.blueprint import Blueprint, plan
from pipeline.space.genotype import Architecture, Gene, Genotype
from pipeline.space.network import Network, build
from pipeline.space.params import NetworkParams
from pipeline.space.relaxation import (
    EdgeWeights,
    from_choices,
    hard_weights,
    initial_logits,
    sample,
)
from pipeline.training.optimizers import Sgd
from pipeline.training.params import TrainingParams
from pipeline.training.steps import descend

TRAINING = TrainingParams(
    batch_size=64,
    evaluation_batch_size=64,
    momentum=0.9,
    weight_decay=3e-4,
    gradient_clip=5.0,
    sampled_paths=1,
    statistics_batches=1,
)
OPERATIONS = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)


def fixed_genotype(blueprint: Blueprint, weights: EdgeWeights) -> Genotype:
    """Return the genotype that has exactly the operations of a path, on all edges."""
    architectures = []
    for number, active in enumerate(weights.active):
        nodes: list[list[Gene]] = [[] for _ in range(blueprint.nodes)]
        for (source, node), (index,) in zip(blueprint.edges, active, strict=True):
            nodes[node].append(Gene(source=source, operation=blueprint.operations[index]))
        architectures.append(Architecture(name=str(number), nodes=tuple(map(tuple, nodes))))
    return Genotype(architectures=tuple(architectures))


def path(blueprint: Blueprint, generator: torch.Generator) -> EdgeWeights:
    """Draw a path from fresh logits.

    `none` is redrawn as a skip, so that both networks have all edges.
    """
    logits = initial_logits(blueprint, none=-2, skip=1, noise=0.5, generator=generator)
    drawn = hard_weights(sample(logits, temperature=1.0, generator=generator))
    choices = torch.tensor(drawn.active).squeeze(-1)
    return from_choices(torch.where(choices == blueprint.none, blueprint.skip, choices))


def step(
    network: Network,
    optimizer: Sgd,
    images: Tensor,
    labels: Tensor,
    weights: EdgeWeights | None,
) -> float:
    """Make one training step; return its seconds."""
    began = time.perf_counter()
    loss = F.cross_entropy(network(images, weights), labels)
    descend(optimizer, [loss], learning_rate=0.01, gradient_clip=5.0)
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (
        ("pairs", 12),
        ("channels", 16),
        ("cells", 8),
        ("nodes", 4),
        ("batch", 64),
        ("size", 32),
    ):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument(
        "--only", choices=("supernet", "fixed"), help="one side, for its peak memory"
    )
    arguments = parser.parse_args()
    params = NetworkParams(
        space="darts",
        operations=OPERATIONS,
        cells=arguments.cells,
        nodes=arguments.nodes,
        channels=arguments.channels,
        stem_multiplier=3,
        edges_per_node=2,
        share_logits=True,
        initial_none=-2.0,
        initial_skip=1.0,
        initial_noise=0.5,
    )
    blueprint = plan(params, image_channels=3, classes=10)
    generator = torch.Generator().manual_seed(0)
    shape = (arguments.batch, 3, arguments.size, arguments.size)
    images = torch.randn(shape, generator=generator).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (arguments.batch,), generator=generator)

    seconds: dict[str, list[float]] = {"supernet": [], "fixed": []}
    supernet = build(blueprint, generator=generator)
    optimizer = Sgd.of(supernet.parameters(), TRAINING)
    for pair in range(arguments.pairs + 1):
        weights = path(blueprint, generator)
        fixed = build(blueprint, fixed_genotype(blueprint, weights), generator=generator)
        fixed_optimizer = Sgd.of(fixed.parameters(), TRAINING)
        sides = [
            ("supernet", lambda w=weights: step(supernet, optimizer, images, labels, w)),
            ("fixed", lambda f=fixed, o=fixed_optimizer: step(f, o, images, labels, None)),
        ]
        for name, run in sides if pair % 2 else reversed(sides):
            if arguments.only in (None, name):
                taken = run()
                if pair:  # the first pair warms up
                    seconds[name].append(taken)
    if arguments.only:
        print(json.dumps({"peak_mib": peak_mib()}))
        return
    report(seconds, {side: peak_of(side) for side in seconds}, arguments)


def peak_mib() -> float:
    """Return this process's peak memory in MiB (getrusage would count the parent's before exec)."""
    (line,) = (
        line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line
    )
    return int(line.split()[1]) / 1024


def peak_of(side: str) -> float:
    """Return the peak memory in MiB of a process that makes only this side's steps."""
    command = [sys.executable, *sys.argv, "--only", side, "--pairs", "3"]
    return float(json.loads(subprocess.check_output(command))["peak_mib"])


def report(
    seconds: dict[str, list[float]], peaks: dict[str, float], arguments: argparse.Namespace
) -> None:
    """Print the table and the JSON line."""
    ratios = [a / b for a, b in zip(seconds["supernet"], seconds["fixed"], strict=True)]
    print(f"{'':10}{'median s/step':>15}{'peak MiB':>12}")
    for side, values in seconds.items():
        print(f"{side:10}{statistics.median(values):15.3f}{peaks[side]:12.0f}")
    print(f"ratio supernet / fixed, pair by pair: median {statistics.median(ratios):.3f}")
    print(
        json.dumps(
            {
                **{k: v for k, v in vars(arguments).items() if k != "only"},
                "threads": torch.get_num_threads(),
                "seconds": {side: statistics.median(values) for side, values in seconds.items()},
                "ratio_median": statistics.median(ratios),
                "ratio_min": min(ratios),
                "ratio_max": max(ratios),
                "peak_mib": peaks,
            }
        )
    )


if __name__ == "__main__":
    main()
