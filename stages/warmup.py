"""Warmup: train the weights before the architecture.

    python -m stages.warmup artifacts/prepare artifacts/warmup

Reads the training and validation splits; writes a checkpoint, the history of the epochs, and
metrics.
"""

from pathlib import Path

from pipeline.batches.params import AugmentationParams
from pipeline.console.progress import say
from pipeline.console.stage import Finish, run_stage
from pipeline.devices.device import choose_device
from pipeline.harness.section import Section, Seed
from pipeline.prepared.facts import FACTS
from pipeline.space.params import SupernetParams
from pipeline.summaries.summary import summary
from pipeline.supernet.records import write_supernet
from pipeline.supernet.supernet import ACCURACY, read_context
from pipeline.training.loop import run
from pipeline.training.params import TrainingParams
from pipeline.training.resume import resume_points
from pipeline.warming.params import WarmupParams
from pipeline.warming.warm import Warmup


class Params(Section):
    """The sections, and parts of sections, that this stage depends on."""

    seed: Seed
    augmentation: AugmentationParams
    network: SupernetParams
    training: TrainingParams
    warmup: WarmupParams


def main(params: Params, prepare: Path, out: Path) -> Finish:
    """Train the weights of a fresh supernet."""
    context = read_context(prepare, choose_device(), params)
    phase = Warmup(context=context, network=params.network, params=params.warmup)
    points = resume_points("warmup", params, prepare / FACTS)
    supernet, history = run(phase, points)

    facts = {ACCURACY: history[-1][ACCURACY]}
    write_supernet(out, "warmup", supernet, history, facts=facts, metrics={})
    say(f"warmup: {summary(history)}")
    return points.remove


if __name__ == "__main__":
    run_stage(Params, main, together=True)
