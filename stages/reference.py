"""Reference: compare the found network with alternatives on the same images.

    python -m stages.reference artifacts/prepare artifacts/derive artifacts/reference

Writes the accuracy of each reference with its interval, whether the found network is better, and
metrics.
"""

from pathlib import Path

import torch

from pipeline.answering.measure import BATCH_SIZE, predict
from pipeline.batches.images import read_images, read_training_images
from pipeline.batches.params import AugmentationParams
from pipeline.comparison.references import sentence, write_references
from pipeline.console.progress import say
from pipeline.console.stage import Finish, run_stage
from pipeline.devices.device import choose_device
from pipeline.harness.records import write_json
from pipeline.harness.section import Section, Seed
from pipeline.optimizing.distilling import soft_targets
from pipeline.optimizing.optimize import Watch
from pipeline.optimizing.params import OptimizeParams
from pipeline.prepared.facts import FACTS, read_facts
from pipeline.referencing.kinds import KINDS
from pipeline.referencing.params import PassesParams, ReferenceParams, SearchPassesParams
from pipeline.referencing.passes import epochs_of_all_passes
from pipeline.referencing.problem import PointsByName, Problem
from pipeline.referencing.side_by_side import only, side_by_side
from pipeline.referencing.table import measure, metrics
from pipeline.space.checkpoint import read_checkpoint
from pipeline.space.params import GenotypeParams
from pipeline.training.context import Context
from pipeline.training.params import WeightParams


class Params(Section):
    """The sections, and parts of sections, that this stage depends on."""

    seed: Seed
    augmentation: AugmentationParams
    network: GenotypeParams
    training: WeightParams
    warmup: PassesParams
    search: SearchPassesParams
    growth: PassesParams
    optimize: OptimizeParams
    reference: ReferenceParams


def main(params: Params, prepare: Path, derive: Path, out: Path) -> Finish | None:
    """Train, test and compare each reference; or only train one, if the environment names it."""
    device = choose_device()
    points = PointsByName(params, (prepare / FACTS, derive, *params.optimize.files))
    with side_by_side(params.reference.kinds, device) as ready:
        problem = _problem(params, prepare, derive, device, points)
        if kind := only(params.reference.kinds):
            KINDS[kind].answer(problem)
            return None
        right = predict(problem.found, problem.test).argmax(1) == problem.test.labels.cpu()
        references = measure(params.reference.kinds, problem, right, ready)
    write_references(out / "references.json", references)
    write_json(out / "metrics.json", metrics(references))
    say(f"reference: {sentence(references)}")
    return points.remove


def _problem(
    params: Params, prepare: Path, derive: Path, device: torch.device, points: PointsByName
) -> Problem:
    """Return what the references are measured against."""
    facts = read_facts(prepare)
    context = Context(
        images=read_training_images(prepare, "train", device, through=params.optimize.through),
        classes=len(facts.classes),
        training=params.training,
        augmentation=params.augmentation,
        seed=params.seed,
    )
    derived = read_checkpoint(derive / "model.safetensors", device)
    derived.require_fit("derive", channels=context.channels, classes=context.classes)
    passes = epochs_of_all_passes(
        params.warmup,
        params.search,
        params.growth,
        params.optimize,
        searched=facts.images("train"),
        trained=len(context.images),
    )
    watch = None
    if params.optimize.patience:
        held_out = read_images(prepare, "validation", device)
        watch = Watch(images=held_out, batch_size=BATCH_SIZE)
    return Problem(
        context=context,
        test=read_images(prepare, "test", device),
        found=derived.network.eval(),
        rules=params.network,
        optimize=params.optimize,
        all_epochs=passes,
        points=points,
        backbone=params.reference.backbone,
        watch=watch,
        taught=soft_targets(params.optimize.teacher, context.images, facts),
    )


if __name__ == "__main__":
    run_stage(Params, main, together=True)
