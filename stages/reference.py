"""Reference: compare the found network with alternatives on the same images.

    python -m stages.reference artifacts/prepare artifacts/derive artifacts/reference

Writes the accuracy of each reference with its interval, whether the found network is better, and
metrics.
"""

from pathlib import Path

from pipeline.batches.images import join, read_images
from pipeline.batches.params import AugmentationParams
from pipeline.comparison.references import sentence, write_references
from pipeline.console.progress import say
from pipeline.console.stage import Finish, run_stage
from pipeline.deriving.measure import predict
from pipeline.devices.device import choose_device
from pipeline.harness.records import write_json
from pipeline.harness.section import Section, Seed
from pipeline.optimizing.params import OptimizeParams
from pipeline.prepared.facts import read_facts
from pipeline.prepared.packing import SPLITS
from pipeline.referencing.params import PassesParams, ReferenceParams, SearchPassesParams
from pipeline.referencing.passes import epochs_of_all_passes
from pipeline.referencing.problem import PointsByName, Problem
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


def main(params: Params, prepare: Path, derive: Path, out: Path) -> Finish:
    """Train, test and compare each reference."""
    device = choose_device()
    training, validation, test = (read_images(prepare, one, device) for one in SPLITS)
    context = Context(
        images=join(training, validation) if params.optimize.use_validation else training,
        classes=len(read_facts(prepare).classes),
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
        searched=len(training),
        trained=len(context.images),
    )
    points = PointsByName(params, (prepare, derive))
    problem = Problem(
        context=context,
        test=test,
        found=derived.network.eval(),
        rules=params.network,
        optimize=params.optimize,
        all_epochs=passes,
        points=points,
        backbone=params.reference.backbone,
    )

    right = predict(problem.found, test).argmax(1) == test.labels.cpu()
    references = measure(params.reference.kinds, problem, right)
    write_references(out / "references.json", references)
    write_json(out / "metrics.json", metrics(references))
    say(f"reference: {sentence(references)}")
    return points.remove


if __name__ == "__main__":
    run_stage(Params, main, together=True)
