"""Optimize: fix the architecture and train its discrete network to the end.

    python -m stages.optimize artifacts/prepare artifacts/growth artifacts/optimize

Writes a checkpoint of the discrete network, the margins of the images, the history and metrics.
"""

from functools import partial
from pathlib import Path

import torch

from pipeline.batches.images import read_images, read_training_images
from pipeline.batches.params import AugmentationParams
from pipeline.console.progress import say
from pipeline.console.stage import Finish, run_stage
from pipeline.devices.device import choose_device
from pipeline.harness.records import kept, write_history, write_json
from pipeline.harness.section import Section, Seed
from pipeline.margins.margins import write_margins
from pipeline.optimizing.distilling import soft_targets
from pipeline.optimizing.optimize import Optimize, Watch, discrete_network
from pipeline.optimizing.params import OptimizeParams
from pipeline.prepared.facts import FACTS, Split, read_facts
from pipeline.space.checkpoint import Checkpoint, write_checkpoint
from pipeline.space.params import GenotypeParams
from pipeline.summaries.summary import summary
from pipeline.training.context import Context
from pipeline.training.loop import run
from pipeline.training.params import StatisticsParams
from pipeline.training.resume import resume_points


class Params(Section):
    """The sections, and parts of sections, that this stage depends on."""

    seed: Seed
    augmentation: AugmentationParams
    network: GenotypeParams
    training: StatisticsParams
    optimize: OptimizeParams


def main(params: Params, prepare: Path, growth: Path, out: Path) -> Finish:
    """Train the discrete network."""
    device, dataset = choose_device(), read_facts(prepare)
    all_of_them = params.optimize.use_validation
    context = Context(
        images=read_training_images(prepare, "train", device, through=params.optimize.through),
        classes=len(dataset.classes),
        training=params.training,
        augmentation=params.augmentation,
        seed=params.seed,
    )
    phase = Optimize(
        context=context,
        params=params.optimize,
        fresh=partial(
            discrete_network,
            growth / "checkpoint.safetensors",
            context,
            params.network,
            params.training,
            from_scratch=params.optimize.from_scratch,
        ),
        watch=None
        if all_of_them
        else Watch(
            images=read_images(prepare, "validation", device),
            batch_size=params.training.evaluation_batch_size,
        ),
        taught=soft_targets(params.optimize.teacher, context.images, dataset),
    )
    points = resume_points("optimize", params, prepare / FACTS, growth, *params.optimize.files)
    state, history = run(phase, points)

    trained_on: list[Split] = ["train", "validation"] if all_of_them else ["train"]
    row = phase.delivered_row(history)
    facts = {"stage": "optimize", "epoch": row["epoch"], "trained_on": trained_on}
    trained = Checkpoint.of(state.delivered, facts=facts)
    write_checkpoint(out / "checkpoint.safetensors", trained)
    sizes = [dataset.images(split) for split in trained_on]
    margins = torch.split(state.margins / len(history), sizes)
    write_margins(out / "margins.safetensors", dict(zip(trained_on, margins, strict=True)))
    write_history(out / "history.tsv", history)
    write_json(out / "metrics.json", kept(row))
    say(f"optimize: {summary(history, keeps_best=bool(params.optimize.patience))}")
    return points.remove


if __name__ == "__main__":
    run_stage(Params, main, together=True)
