"""Prepare: decode, resize and split the images of a data set, once for all later stages.

    python -m stages.prepare artifacts/prepare

Writes `images.safetensors`, the pixels and labels of the splits (train, validation, test), one
after the other, `dataset.json`: classes, shape, counts, and the mean and standard deviation of the
training split, and where the images have files of their own, their names in `names.json`. With
`data.stored_size`, `larger.safetensors` has the training and validation images in more pixels.
"""

from pathlib import Path

from pipeline.console.progress import say
from pipeline.console.stage import run_stage
from pipeline.data.duplicates import separate
from pipeline.data.params import DataParams
from pipeline.data.scratch import scratch
from pipeline.data.sources import read_source
from pipeline.data.splits import channel_statistics, split
from pipeline.harness.section import Section, Seed
from pipeline.prepared.packing import write_dataset


class Params(Section):
    """The sections that this stage depends on."""

    seed: Seed
    data: DataParams


def main(params: Params, out: Path) -> None:
    """Read, split, describe and write the images."""
    with scratch(params.data) as place:
        source = read_source(params.data, place)
        splits = split(
            source,
            validation_fraction=params.data.validation_fraction,
            test_fraction=params.data.test_fraction,
            seed=params.seed,
        )
        splits = separate(splits, source.classes, params.data.duplicates)
        mean, std = channel_statistics(splits.train)

        write_dataset(
            out,
            name=source.name,
            classes=source.classes,
            splits=splits,
            mean=mean,
            std=std,
            fit=params.data.fit,
        )
        say(
            f"prepare: {source.name}, {len(source.classes)} classes: {len(splits.train)} training,"
            f" {len(splits.validation)} validation, {len(splits.test)} test images"
        )


if __name__ == "__main__":
    run_stage(Params, main)
