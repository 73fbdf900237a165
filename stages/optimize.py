"""Optimize: fix the architecture and train its discrete network to the end.

    python -m stages.optimize artifacts/prepare artifacts/growth artifacts/optimize

Writes a checkpoint of the discrete network, the history and metrics.
"""

from functools import partial
from pathlib import Path

from pipeline.batches.images import join, read_images
from pipeline.batches.params import AugmentationParams
from pipeline.devices.device import choose_device
from pipeline.harness.records import write_history, write_json
from pipeline.harness.section import Section, Seed
from pipeline.harness.stage import Finish, run_stage
from pipeline.optimizing.optimize import epochs, resumed, snapshot, start
from pipeline.optimizing.params import OptimizeParams
from pipeline.prepared.facts import read_facts
from pipeline.space.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from pipeline.training.loop import Phase, run
from pipeline.training.params import TrainingParams
from pipeline.training.resume import resume_points
from pipeline.training.stability import Expected


class Params(Section):
    """The sections that this stage depends on."""

    seed: Seed
    augmentation: AugmentationParams
    training: TrainingParams
    optimize: OptimizeParams


def main(params: Params, prepare: Path, growth: Path, out: Path) -> Finish:
    """Train the discrete network."""
    device = choose_device()
    images = read_images(prepare, "train", device)
    validation = read_images(prepare, "validation", device)
    if params.optimize.use_validation:
        images = join(images, validation)

    points = resume_points("optimize", params, prepare, growth)
    facts = read_facts(prepare)

    def grown() -> Checkpoint:
        checkpoint = read_checkpoint(growth / "checkpoint.safetensors", device)
        checkpoint.require_fit("growth", channels=facts.channels, classes=len(facts.classes))
        return checkpoint

    begin = partial(start, params=params.optimize, training=params.training, seed=params.seed)
    watched = None if params.optimize.use_validation else validation
    phase = Phase(
        begin=lambda: begin(grown(), images),
        epochs=lambda state, slowdown: epochs(
            state,
            images,
            watched,
            params=params.optimize,
            training=params.training,
            augmentation=params.augmentation,
            seed=params.seed,
            slowdown=slowdown,
        ),
        snapshot=snapshot,
        resumed=lambda saved: resumed(begin(grown(), images), saved),
    )
    state, history = run(
        phase,
        points,
        epochs=params.optimize.epochs,
        images=len(images),
        expected=Expected(
            classes=len(facts.classes),
            accuracy="train_accuracy" if watched is None else "validation_accuracy",
            images=len(images if watched is None else watched),
        ),
        max_recoveries=params.training.max_recoveries,
    )

    write_checkpoint(
        out / "checkpoint.safetensors",
        Checkpoint(network=state.result, facts={"stage": "optimize", "epoch": state.epoch}),
    )
    write_history(out / "history.tsv", history)
    end = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "recoveries")
    write_json(out / "metrics.json", {key: history[-1][key] for key in end if key in history[-1]})
    return points.remove


if __name__ == "__main__":
    run_stage(Params, main, together=True)
