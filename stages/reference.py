"""Reference: what a user would take instead, on the same images, beside the found network.

    python -m stages.reference artifacts/prepare artifacts/derive artifacts/reference

Writes how each reference did, with its interval and whether the found network is better, and what
was measured of the best of them.
"""

from pathlib import Path

from pipeline.batches.images import join, read_images
from pipeline.batches.params import AugmentationParams
from pipeline.comparison.references import sentence, write_references
from pipeline.console.progress import say
from pipeline.deriving.measure import predict
from pipeline.devices.device import choose_device
from pipeline.growing.params import GrowthParams
from pipeline.harness.records import write_json
from pipeline.harness.section import Section, Seed
from pipeline.harness.stage import Finish, run_stage
from pipeline.optimizing.params import OptimizeParams
from pipeline.prepared.facts import read_facts
from pipeline.referencing.params import ReferenceParams
from pipeline.referencing.passes import epochs_of_all_passes
from pipeline.referencing.problem import Problem
from pipeline.referencing.table import measure, metrics
from pipeline.searching.params import SearchParams
from pipeline.space.checkpoint import read_checkpoint
from pipeline.training.params import TrainingParams
from pipeline.training.resume import Points, resume_points
from pipeline.warming.params import WarmupParams


class Params(Section):
    """The sections that this stage depends on: all that says how many passes were made."""

    seed: Seed
    augmentation: AugmentationParams
    training: TrainingParams
    warmup: WarmupParams
    search: SearchParams
    growth: GrowthParams
    optimize: OptimizeParams
    reference: ReferenceParams


def main(params: Params, prepare: Path, derive: Path, out: Path) -> Finish:
    """Train, test and compare each reference."""
    device = choose_device()
    facts = read_facts(prepare)
    derived = read_checkpoint(derive / "model.safetensors", device)
    derived.require_fit("derive", channels=facts.channels, classes=len(facts.classes))
    training, validation, test = (
        read_images(prepare, split, device) for split in ("train", "validation", "test")
    )
    images = join(training, validation) if params.optimize.use_validation else training
    points: list[Points] = []

    def points_of(name: str) -> Points:
        points.append(resume_points(f"reference-{name}", params, prepare, derive))
        return points[-1]

    problem = Problem(
        training=images,
        test=test,
        classes=len(facts.classes),
        found=derived.network.eval(),
        optimize=params.optimize,
        recipe=params.training,
        augmentation=params.augmentation,
        seed=params.seed,
        all_epochs=epochs_of_all_passes(
            params.warmup,
            params.search,
            params.growth,
            params.optimize,
            searched=len(training),
            trained=len(images),
        ),
        points=points_of,
        backbone=params.reference.backbone,
    )

    logits = predict(problem.found, test)
    references = measure(params.reference.kinds, problem, logits.argmax(1) == test.labels.cpu())
    write_references(out / "references.json", references)
    write_json(out / "metrics.json", metrics(references))
    say(f"reference: {sentence(references)}")

    def finish() -> None:
        for one in points:
            one.remove()

    return finish


if __name__ == "__main__":
    run_stage(Params, main, together=True)
