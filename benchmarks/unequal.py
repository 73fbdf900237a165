"""Unequal classes made of equal ones: a copy of a folder without most images of every second class.

    python benchmarks/unequal.py FROM TO [--ratio 20]

FROM holds a folder per class under `train` and `test`. Of every second class, by name, TO gets one
of `ratio` training images, evenly spaced by file name; of the others, and for the test, all.
"""

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path


def copied(source: Path, ratio: int) -> Iterator[Path]:
    """Yield the files that the copy gets."""
    for split in ("train", "test"):
        classes = sorted(path for path in (source / split).iterdir() if path.is_dir())
        for number, folder in enumerate(classes):
            step = ratio if split == "train" and number % 2 else 1
            yield from sorted(path for path in folder.iterdir() if path.is_file())[::step]


def main() -> None:
    """Copy and print the number of images of each class."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, metavar="FROM")
    parser.add_argument("target", type=Path, metavar="TO")
    parser.add_argument("--ratio", type=int, default=20)
    arguments = parser.parse_args()
    arguments.target.mkdir(parents=True)
    for path in copied(arguments.source, arguments.ratio):
        to = arguments.target / path.relative_to(arguments.source)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to)
    for folder in sorted(arguments.target.glob("*/*")):
        print(f"{folder.relative_to(arguments.target)}: {len(list(folder.iterdir()))}")


if __name__ == "__main__":
    main()
