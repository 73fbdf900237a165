"""Images per second of our batched augmentation against torchvision's in a DataLoader.

    python benchmarks/data.py [--images 20000] [--batch 256] [--workers 2] [--rounds 5]

Both sides do the same work: random crop with 4 pixels of padding, mirror, normalise, 32x32x3, in
random order. Rounds are interleaved; figures are medians. Prints a table and a JSON line.

On two busy cores of an AMD EPYC, 4,000 images, one thread and 2 workers: 48,536 images/s of ours,
3,710 of the DataLoader, which starts its workers anew in each round.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterable
from itertools import count

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from pipeline.batches.batches import training_batches
from pipeline.batches.images import Images
from pipeline.batches.params import AugmentationParams

MEAN, STD = [0.49, 0.48, 0.45], [0.25, 0.24, 0.26]
AUGMENTATION = AugmentationParams(crop_padding=4, flip=True, cutout=0)


class Each(Dataset[Tensor]):
    """Images one by one, transformed by torchvision."""

    def __init__(self, pixels: Tensor) -> None:
        self.pixels = pixels
        self.transform = v2.Compose(
            [
                v2.RandomCrop(32, padding=4),
                v2.RandomHorizontalFlip(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Tensor:
        transformed: Tensor = self.transform(self.pixels[index])
        return transformed


def rate(batches: Iterable[object], images: int) -> float:
    """Return the images per second of a pass over the batches."""
    began = time.perf_counter()
    for _ in batches:
        pass
    return images / (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("images", 20000), ("batch", 256), ("workers", 2), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=value)
    arguments = parser.parse_args()
    number = arguments.images
    pixels = torch.randint(256, (number, 3, 32, 32), dtype=torch.uint8)
    images = Images(
        pixels=pixels.contiguous(memory_format=torch.channels_last),
        labels=torch.zeros(number, dtype=torch.int64),
        mean=torch.tensor(MEAN),
        std=torch.tensor(STD),
    )
    loader = DataLoader(Each(pixels), arguments.batch, shuffle=True, num_workers=arguments.workers)
    rates: dict[str, list[float]] = {"ours": [], "torchvision v2 in a DataLoader": []}
    epoch = count()
    for _ in range(arguments.rounds):
        ours = training_batches(
            images,
            batch_size=arguments.batch,
            augmentation=AUGMENTATION,
            seed=0,
            purpose=("benchmark", next(epoch)),
        )
        rates["ours"].append(rate(ours, number))
        rates["torchvision v2 in a DataLoader"].append(rate(loader, number))
    medians = {name: statistics.median(found) for name, found in rates.items()}
    table = Table("", "images/s")
    for name, median in medians.items():
        table.add_row(name, f"{median:,.0f}")
    Console(stderr=True).print(table)
    print(json.dumps({**vars(arguments), "threads": torch.get_num_threads(), "rates": medians}))


if __name__ == "__main__":
    main()
