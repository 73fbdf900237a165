"""Optimize: fix the architecture and train its discrete network to the end.

    python -m stages.optimize artifacts/prepare artifacts/growth artifacts/optimize

Writes a checkpoint of the discrete network, the history and metrics.
"""

from functools import partial
from pathlib import Path

from pipeline.data.batches import join
from pipeline.data.params import AugmentationParams
from pipeline.exchange.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from pipeline.exchange.dataset import read_images
from pipeline.exchange.progress import watch
from pipeline.exchange.records import write_history, write_json
from pipeline.exchange.resume import resume_points
from pipeline.exchange.stage import run_stage
from pipeline.optimizing.optimize import epochs, resume, snapshot, start
from pipeline.optimizing.params import OptimizeParams
from pipeline.section import Section, Seed
from pipeline.training.device import choose_device
from pipeline.training.params import TrainingParams


class Params(Section):
    """The sections that this stage depends on."""

    seed: Seed
    augmentation: AugmentationParams
    training: TrainingParams
    optimize: OptimizeParams


def main(params: Params, prepare: Path, growth: Path, out: Path) -> None:
    """Train the discrete network."""
    device = choose_device()
    grown = read_checkpoint(growth / "checkpoint.safetensors", device)
    images = read_images(prepare, "train", device)
    validation = read_images(prepare, "validation", device)
    if params.optimize.use_validation:
        images = join(images, validation)

    state = start(grown, images, params.optimize, params.training, seed=params.seed)
    points = resume_points("optimize", params, prepare, growth)
    saved, before = points.newest()
    if saved:
        resume(state, saved)
    rows = epochs(
        state,
        images,
        None if params.optimize.use_validation else validation,
        params=params.optimize,
        training=params.training,
        augmentation=params.augmentation,
        seed=params.seed,
    )
    history = watch(
        points.after_each(rows, before, partial(snapshot, state)),
        before=before,
        name="optimize",
        epochs=params.optimize.epochs,
        images=len(images),
    )

    write_checkpoint(
        out / "checkpoint.safetensors",
        Checkpoint(network=state.result, facts={"epoch": state.epoch}),
    )
    write_history(out / "history.tsv", history)
    end = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
    write_json(out / "metrics.json", {key: history[-1][key] for key in end if key in history[-1]})
    points.remove()


if __name__ == "__main__":
    run_stage(Params, main)
