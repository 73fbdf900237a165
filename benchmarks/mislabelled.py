"""How many labels that were swapped on purpose are found at the top of the list of suspects.

    python benchmarks/mislabelled.py PHOTOS [--profile image_folder] [--swapped 0.05]
    [--images 4000] [--seed 0] [--set KEY=VALUE ...] [--folder FOLDER]

PHOTOS is a folder of images. After `prepare`, at most `--images` of the images that are trained on
stay, and a part of those of each split gets the label of another class, drawn by the seed. Then all
stages up to `derive` run unchanged. Prints the share of the swapped labels that are in the list,
which names the worst tenth of all images, and in its first half; then a JSON line.
"""

import argparse
import csv
import json
from pathlib import Path

import numpy as np
from cached import NEEDS, SOURCE, assignment, metrics, run_stage
from rich.console import Console

from pipeline.prepared.facts import SPLITS, read_facts
from pipeline.prepared.labelled import Labelled, Splits
from pipeline.prepared.packing import read_split, write_dataset
from pipeline.running.overrides import compose

Swapped = set[tuple[str, int]]
"""Split and index of each image whose label is wrong on purpose."""


def swap(prepared: Path, out: Path, *, part: float, most: int, seed: int) -> Swapped:
    """Write a prepared data set again, with fewer images and with wrong labels among them."""
    facts, source = read_facts(prepared), np.random.default_rng(seed)
    splits, swapped = {}, set()
    trained = facts.images("train") + facts.images("validation")
    for split in SPLITS:
        whole = read_split(prepared, split)
        count = round(len(whole) * min(1.0, most / trained))
        kept = source.permutation(len(whole))[:count]
        labels = whole.labels[kept]
        wrong = source.permutation(count)[: round(part * count)]
        others = source.integers(1, len(facts.classes), len(wrong))
        labels[wrong] = (labels[wrong] + others) % len(facts.classes)
        swapped |= {(split, int(index)) for index in wrong}
        splits[split] = Labelled(images=whole.images[kept], labels=labels)
    write_dataset(
        out,
        name=facts.name,
        classes=facts.classes,
        splits=Splits(**splits),
        mean=facts.mean,
        std=facts.std,
    )
    return swapped


def found(path: Path, swapped: Swapped) -> dict[str, float]:
    """Return the share of swapped labels in the whole list of suspects and in its first half."""
    lines = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    listed = [(line["split"], int(line["index"])) for line in lines]
    first = listed[: len(listed) // 2]
    return {
        "first_10_percent": len(swapped & set(listed)) / len(swapped),
        "first_5_percent": len(swapped & set(first)) / len(swapped),
    }


def main() -> None:
    """Run the stages on swapped labels and look for them in the list."""
    parser = argparse.ArgumentParser(description="Find labels that were swapped on purpose.")
    parser.add_argument("photos", type=Path)
    parser.add_argument("--profile", default="image_folder")
    parser.add_argument("--swapped", type=float, default=0.05)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--folder", type=Path, default=Path(".aso-se/mislabelled"))
    arguments = parser.parse_args()
    changes = {
        "data.name": "image_folder",
        "data.path": str(arguments.photos.resolve()),
        "seed": arguments.seed,
        **dict(map(assignment, arguments.set)),
    }
    text = compose(SOURCE, arguments.profile, changes)
    folder = arguments.folder.resolve()
    original = run_stage(folder, text, "prepare")
    name = f"swapped-{original.name}-{arguments.swapped:g}-{arguments.images}-{arguments.seed}"
    done = {"prepare": folder / name}
    swapped = swap(
        original,
        done["prepare"],
        part=arguments.swapped,
        most=arguments.images,
        seed=arguments.seed,
    )
    for stage in ("warmup", "search", "growth", "optimize", "derive"):
        done[stage] = run_stage(folder, text, stage, *(done[one] for one in NEEDS[stage]))
    figures = {
        **found(done["derive"] / "suspects.csv", swapped),
        "test_accuracy": metrics(done["derive"])["test_accuracy"],
    }
    console = Console()
    for key, value in figures.items():
        console.print(f"{key.replace('_', ' ')}: {value:.1%}")
    console.print_json(json.dumps(figures))


if __name__ == "__main__":
    main()
