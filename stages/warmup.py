"""Warmup: the weights learn, the architecture waits.

    python -m stages.warmup artifacts/prepare artifacts/warmup

Reads the training and validation splits; writes a checkpoint, the history of the epochs, and
metrics.
"""

from functools import partial
from pathlib import Path

from pipeline.batches.images import read_images
from pipeline.batches.params import AugmentationParams
from pipeline.devices.device import choose_device
from pipeline.harness.records import write_history, write_json
from pipeline.harness.section import Section, Seed
from pipeline.harness.stage import Finish, run_stage
from pipeline.prepared.facts import read_facts
from pipeline.space.checkpoint import Checkpoint, write_checkpoint
from pipeline.space.params import NetworkParams
from pipeline.supernet.supernet import METRICS, SearchImages, snapshot
from pipeline.training.loop import Phase, run
from pipeline.training.params import TrainingParams
from pipeline.training.resume import resume_points
from pipeline.training.stability import Expected
from pipeline.warming.params import WarmupParams
from pipeline.warming.warm import epochs, resumed, start


class Params(Section):
    """The sections that this stage depends on."""

    seed: Seed
    augmentation: AugmentationParams
    network: NetworkParams
    training: TrainingParams
    warmup: WarmupParams


def main(params: Params, prepare: Path, out: Path) -> Finish:
    """Warm a fresh supernet up."""
    device = choose_device()
    facts = read_facts(prepare)
    images = SearchImages(
        training=read_images(prepare, "train", device),
        validation=read_images(prepare, "validation", device),
    )

    points = resume_points("warmup", params, prepare)
    phase = Phase(
        begin=partial(
            start,
            params.network,
            params.training,
            image_channels=facts.channels,
            classes=len(facts.classes),
            seed=params.seed,
            device=device,
        ),
        epochs=lambda supernet, slowdown: epochs(
            supernet,
            images,
            params=params.warmup,
            training=params.training,
            augmentation=params.augmentation,
            seed=params.seed,
            slowdown=slowdown,
        ),
        snapshot=snapshot,
        resumed=partial(resumed, training=params.training, device=device),
    )
    supernet, history = run(
        phase,
        points,
        epochs=params.warmup.epochs,
        images=len(images.training),
        expected=Expected(classes=len(facts.classes)),
        max_recoveries=params.training.max_recoveries,
    )

    end = {key: history[-1][key] for key in METRICS}
    write_checkpoint(
        out / "checkpoint.safetensors",
        Checkpoint(
            network=supernet.network,
            logits=supernet.logits,
            facts={
                "stage": "warmup",
                "epoch": supernet.epoch,
                "validation_accuracy": end["validation_accuracy"],
            },
        ),
    )
    write_history(out / "history.tsv", history)
    write_json(out / "metrics.json", end)
    return points.remove


if __name__ == "__main__":
    run_stage(Params, main, together=True)
