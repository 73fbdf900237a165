"""Cost of a step of our search against a fixed network and the schedules of DARTS and GDAS.

    python benchmarks/step.py [--rounds 5] [--channels 16] [--cells 8] [--nodes 4] [--batch 64]
    [--size 32] [--device cpu]

All sides are interleaved in one run, on the same images and, if they sample, along the same path:

- `fixed`: a weight step of a network that has only the path's operations: the lower bound.
- `sampled`: a weight step of the supernet along the same path.
- `ours`: 4 weight steps along sampled paths, then 1 architecture step that compares the losses of
  2 paths (`arch_gradient: score`).
- `ours gate`: the same, but the architecture step differentiates the gates of one path with respect
  to the logits only (`arch_gradient: gate`).
- `gdas`: an architecture step with every weight step, both along sampled paths, both with the
  gradient of all weights (Dong & Yang 2019, as published).
- `darts`: the same with the mixture of all operations on every edge (Liu et al. 2019, first order).
- `gdas nchw`, `darts nchw`: the same as published, with torch's own convolutions in its
  default memory format. `gdas` and `darts` use our layout and kernels, so only the method differs.

Seconds are per training image; peak memory is that of a process that runs only this side. Prints a
table and a JSON line.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from pipeline.alternating.gradients import score
from pipeline.devices.device import autocast
from pipeline.space.architecture import Architecture, Gene
from pipeline.space.batch_norm import untracked_statistics
from pipeline.space.blueprint import Blueprint, plan
from pipeline.space.depthwise import Depthwise
from pipeline.space.genotype import Genotype
from pipeline.space.network import Network, build, constant
from pipeline.space.params import NetworkParams
from pipeline.space.pointwise import Pointwise
from pipeline.space.relaxation import (
    EdgeWeights,
    from_choices,
    hard_weights,
    initial_logits,
    relax,
    sample,
    soft_weights,
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
    max_recoveries=0,
    auxiliary_skip=0.0,
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
SIDES = ("fixed", "sampled", "ours", "ours gate", "gdas", "darts", "gdas nchw", "darts nchw")
WEIGHT_STEPS = 4
"""Number of our weight steps per architecture step."""
ARCHITECTURE_PATHS = 2


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all sides share."""

    blueprint: Blueprint
    images: Tensor
    labels: Tensor
    supernet: Network
    optimizer: Sgd
    generator: torch.Generator

    def loss(self, network: Network, weights: EdgeWeights | None) -> Tensor:
        """Run the network forward on the batch."""
        with autocast(self.images.device):
            return F.cross_entropy(network(self.images, weights), self.labels)

    def timed(self, work: Callable[[], object]) -> float:
        """Return the seconds that some work takes."""
        began = time.perf_counter()
        work()
        if self.images.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - began

    def weight_step(self, network: Network, optimizer: Sgd, weights: EdgeWeights | None) -> float:
        """Return the seconds of a weight step: forward, backward, clipped update."""
        return self.timed(
            lambda: descend(optimizer, [self.loss(network, weights)], learning_rate=0.01)
        )

    def comparing_step(self, logits: Tensor, choices: Tensor) -> float:
        """Return the seconds of our architecture step: forward passes of (P, A, E) paths."""

        def step() -> None:
            with untracked_statistics(), constant(self.optimizer.parameters):
                score(logits.detach(), choices, partial(self.loss, self.supernet))

        return self.timed(step)

    def differentiating_step(self, logits: Tensor, weights: EdgeWeights) -> float:
        """Return the seconds of our step with a gate: only logits get a gradient."""

        def step() -> None:
            with untracked_statistics(), constant(self.optimizer.parameters):
                torch.autograd.grad(self.loss(self.supernet, weights), logits)

        return self.timed(step)

    def full_architecture_step(self, weights: EdgeWeights) -> float:
        """Return the seconds of the peers' step: a whole backward pass for the logits' gradient."""

        def step() -> None:
            self.optimizer.zero_grad()
            self.loss(self.supernet, weights).backward()  # type: ignore[no-untyped-call]

        return self.timed(step)


def round_of(bench: Bench, side: str, logits: Tensor) -> float:
    """Return seconds per training image of one side, on a path drawn from `logits`."""
    blueprint, device = bench.blueprint, bench.images.device
    rows = sample(logits, temperature=1.0, generator=bench.generator)

    def chosen(rows: Tensor) -> Tensor:
        # `none` becomes a skip, so that the fixed network also has all edges.
        choices = rows.detach().argmax(-1)
        return torch.where(choices == blueprint.none, blueprint.skip, choices)

    path = from_choices(chosen(rows))
    if side == "fixed":
        network = build(
            blueprint, genotype_of(blueprint, path), generator=bench.generator, device=device
        )
        optimizer = Sgd.of(network.parameters(), TRAINING)
        return bench.weight_step(network, optimizer, None) / len(bench.images)
    gated = EdgeWeights(active=path.active, gates=hard_weights(rows, device).gates)
    if side.startswith("darts"):
        mixture = soft_weights(
            relax(logits, temperature=1.0, generator=bench.generator), device=device, dominance=2.0
        )
        plain = EdgeWeights(active=mixture.active, gates=mixture.gates.detach())  # type: ignore[union-attr]
        seconds = bench.weight_step(bench.supernet, bench.optimizer, plain)
        return (seconds + bench.full_architecture_step(mixture)) / len(bench.images)
    seconds = bench.weight_step(bench.supernet, bench.optimizer, path)
    if side == "sampled":
        return seconds / len(bench.images)
    if side.startswith("gdas"):
        return (seconds + bench.full_architecture_step(gated)) / len(bench.images)
    if side == "ours gate":
        step = bench.differentiating_step(logits, gated)
    else:
        drawn = [
            chosen(sample(logits, temperature=1.0, generator=bench.generator))
            for _ in range(ARCHITECTURE_PATHS)
        ]
        step = bench.comparing_step(logits, torch.stack(drawn))
    return (seconds + step / WEIGHT_STEPS) / len(bench.images)


def as_published(bench: Bench) -> Bench:
    """Return the same bench with torch's own convolutions, in torch's default memory format."""
    supernet = deepcopy(bench.supernet).to(memory_format=torch.contiguous_format)
    for module in supernet.modules():
        if isinstance(module, Depthwise | Pointwise):
            module.__class__ = nn.Conv2d
    return replace(
        bench,
        images=bench.images.contiguous(),
        supernet=supernet,
        optimizer=Sgd.of(supernet.parameters(), TRAINING),
    )


def genotype_of(blueprint: Blueprint, weights: EdgeWeights) -> Genotype:
    """Return the genotype that has exactly the operations of a path, on all edges."""
    architectures = []
    for number, active in enumerate(weights.active):
        nodes: list[list[Gene]] = [[] for _ in range(blueprint.nodes)]
        for (source, node), (index,) in zip(blueprint.edges, active, strict=True):
            nodes[node].append(Gene(source=source, operation=blueprint.operations[index]))
        architectures.append(Architecture(name=str(number), nodes=tuple(map(tuple, nodes))))
    return Genotype(architectures=tuple(architectures))


def bench_of(arguments: argparse.Namespace) -> Bench:
    """Return random images and a supernet, of the sizes in the arguments."""
    params = NetworkParams(
        space="darts",
        operations=OPERATIONS,
        cells=arguments.cells,
        nodes=arguments.nodes,
        channels=arguments.channels,
        stem_multiplier=3,
        share_logits=True,
        initial_none=-2.0,
        initial_skip=1.0,
        initial_noise=0.5,
    )
    blueprint = plan(params, image_channels=3, classes=10, image_size=arguments.size)
    generator = torch.Generator().manual_seed(0)
    shape = (arguments.batch, 3, arguments.size, arguments.size)
    images = torch.randn(shape, generator=generator).contiguous(memory_format=torch.channels_last)
    supernet = build(blueprint, generator=generator, device=arguments.device)
    return Bench(
        blueprint=blueprint,
        images=images.to(arguments.device),
        labels=torch.randint(10, (arguments.batch,), generator=generator).to(arguments.device),
        supernet=supernet,
        optimizer=Sgd.of(supernet.parameters(), TRAINING),
        generator=generator,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sizes = {"rounds": 5, "channels": 16, "cells": 8, "nodes": 4, "batch": 64, "size": 32}
    for name, value in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", choices=SIDES, help="one side, for its peak memory")
    arguments = parser.parse_args()
    bench = bench_of(arguments)
    published = as_published(bench)
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    for number in range(arguments.rounds + 1):
        logits = initial_logits(
            bench.blueprint, none=-2, skip=1, noise=0.5, generator=bench.generator
        ).requires_grad_()
        drawn = bench.generator.get_state()
        for side in [arguments.only] if arguments.only else SIDES[:: 1 if number % 2 else -1]:
            bench.generator.set_state(drawn)  # the same path for all sides
            taken = round_of(published if side.endswith("nchw") else bench, side, logits)
            if number:  # the first round warms up
                seconds[side].append(taken)
    if arguments.only:
        print(json.dumps({"peak_mib": peak_mib(arguments.device)}))
    else:
        report(seconds, {side: peak_of(side) for side in SIDES}, arguments)


def peak_mib(device: str) -> float:
    """Return the peak memory in MiB of this process on its device.

    getrusage is not used, because it counts the parent's memory before exec.
    """
    if device != "cpu":
        return torch.accelerator.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in status if "VmHWM" in line)
    return int(line.split()[1]) / 1024


def peak_of(side: str) -> float:
    """Return the peak memory in MiB of a process that runs only this side's steps."""
    command = [sys.executable, *sys.argv, "--only", side, "--rounds", "1"]
    return float(json.loads(subprocess.check_output(command))["peak_mib"])


def report(
    seconds: dict[str, list[float]], peaks: dict[str, float], arguments: argparse.Namespace
) -> None:
    """Print the table and the JSON line; ratios are medians of the ratios of each round."""
    medians = {side: statistics.median(values) for side, values in seconds.items()}
    ratios = {
        side: statistics.median(a / b for a, b in zip(seconds[side], seconds["ours"], strict=True))
        for side in SIDES
    }
    table = Table("", "ms per training image", "times ours", "peak MiB")
    for side in SIDES:
        shown = f"{1000 * medians[side]:.2f}", f"{ratios[side]:.2f}", f"{peaks[side]:.0f}"
        table.add_row(side, *shown)
    Console(stderr=True).print(table)
    document = {
        **{key: value for key, value in vars(arguments).items() if key != "only"},
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "seconds_per_image": medians,
        "times_ours": ratios,
        "peak_mib": peaks,
    }
    print(json.dumps(document))


if __name__ == "__main__":
    main()
