"""What a training step costs at each size of the images, with the stem of `auto` and without one.

    python benchmarks/stems.py [--profile image_folder] [--sides 32,64,96,128,160,224] [--draws 3]
    [--without 128] [--set KEY=VALUE ...]

For each side, random architectures of the profile's space run forwards and backwards on 32 images
of noise. Prints the stem's factor, multiply-adds and CPU milliseconds of an image (mean ± standard
deviation over the architectures, each the least of three runs); then a JSON line. --without: a side
that is also run with `network.stem` 1.
"""

import argparse
import json
from time import process_time
from typing import Any

import torch
from cached import SOURCE, assignment, spread
from rich.console import Console
from rich.table import Table

from pipeline.batches.randomness import generator
from pipeline.costing.cost import cost
from pipeline.harness.params_file import parse_params
from pipeline.params import Params
from pipeline.referencing.random_architecture import random_genotype
from pipeline.running.overrides import compose
from pipeline.space.blueprint import plan
from pipeline.space.network import build

IMAGES = 32
RUNS = 3


def measure(params: Params, draws: int) -> dict[str, Any]:
    """Return the figures of one side. milliseconds: of each architecture; mflops: their mean."""
    side = params.data.image_size
    blueprint = plan(params.network, image_channels=3, classes=10, image_size=side)
    images = torch.randn((IMAGES, 3, side, side), generator=generator(0, "benchmark", "images"))
    images = images.contiguous(memory_format=torch.channels_last)
    milliseconds, mflops = [], []
    for draw in range(draws):
        source = generator(draw, "benchmark", "stems")
        genotype = random_genotype(blueprint, params.network, source)
        network = build(blueprint, genotype, generator=source).train()
        times = []
        for _ in range(RUNS):
            began = process_time()
            network(images).square().mean().backward()
            times.append(1000 * (process_time() - began) / IMAGES)
        milliseconds.append(min(times))
        mflops.append(cost(blueprint, genotype, (side, side)).mflops)
    return {
        "side": side,
        "stem": blueprint.stem_factor,
        "mflops": sum(mflops) / draws,
        "milliseconds": milliseconds,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="image_folder")
    parser.add_argument("--sides", default="32,64,96,128,160,224")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--without", type=int, default=128)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    changes = dict(assignment(one) for one in arguments.set)
    rows = [(int(side), "auto") for side in arguments.sides.split(",")] + [(arguments.without, 1)]
    found = []
    for side, stem in rows:
        plain = {"augmentation.crop_padding": 0, "augmentation.cutout": 0}
        sized = {**plain, **changes, "data.image_size": side, "network.stem": stem}
        text = compose(SOURCE, arguments.profile, sized)
        found.append(measure(parse_params(Params, text, "params"), arguments.draws))
    table = Table("side", "stem", "multiply-adds, M", "ms an image, forwards and backwards")
    for one in found:
        shown = spread(one["milliseconds"])
        table.add_row(str(one["side"]), str(one["stem"]), f"{one['mflops']:.1f}", shown)
    Console(stderr=True).print(table)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
