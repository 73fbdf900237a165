"""Search: weights and architecture alternate, the temperature falls.

    python -m stages.search artifacts/prepare artifacts/warmup artifacts/search

Goes on from the warmed-up weights and logits; writes a checkpoint, the most likely genotype, the
history and metrics.
"""

from functools import partial
from pathlib import Path

from pipeline.batches.images import read_images
from pipeline.batches.params import AugmentationParams
from pipeline.devices.device import choose_device
from pipeline.harness.files import write_atomically
from pipeline.harness.records import write_history, write_json
from pipeline.harness.section import Section, Seed
from pipeline.harness.stage import Finish, run_stage
from pipeline.prepared.facts import read_facts
from pipeline.searching.params import SearchParams
from pipeline.searching.search import drop_at_start, epochs, say_if_stopped, say_if_undecided
from pipeline.searching.state import resumed, snapshot, start
from pipeline.space.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from pipeline.space.relaxation import decide, undecided
from pipeline.supernet.supernet import METRICS, SearchImages, expected
from pipeline.training.loop import Phase, run
from pipeline.training.params import TrainingParams
from pipeline.training.resume import resume_points


class Params(Section):
    """The sections that this stage depends on."""

    seed: Seed
    augmentation: AugmentationParams
    training: TrainingParams
    search: SearchParams


def main(params: Params, prepare: Path, warmup: Path, out: Path) -> Finish:
    """Search from a warmed-up supernet."""
    device = choose_device()
    checkpoint = warmup / "checkpoint.safetensors"
    warmed = read_checkpoint(checkpoint)
    facts = read_facts(prepare)
    warmed.require_fit("warmup", channels=facts.channels, classes=len(facts.classes))
    images = SearchImages(
        training=read_images(prepare, "train", device),
        validation=read_images(prepare, "validation", device),
    )

    points = resume_points("search", params, prepare, warmup)
    phase = Phase(
        begin=lambda: start(
            read_checkpoint(checkpoint, device),
            params.search,
            params.training,
            images=len(images.training),
            seed=params.seed,
        ),
        epochs=lambda state, slowdown: epochs(
            state,
            images,
            params=params.search,
            training=params.training,
            augmentation=params.augmentation,
            seed=params.seed,
            slowdown=slowdown,
        ),
        snapshot=snapshot,
        resumed=partial(resumed, training=params.training, device=device),
    )
    accuracy = warmed.fact("validation_accuracy")
    state, history = run(
        phase,
        points,
        epochs=params.search.epochs,
        images=len(images.training),
        expected=expected(warmed.network.blueprint, images, before=accuracy),
        max_recoveries=params.training.max_recoveries,
    )

    end = {key: history[-1][key] for key in METRICS}
    drop = drop_at_start(accuracy, history)
    write_checkpoint(
        out / "checkpoint.safetensors",
        Checkpoint(
            network=state.network,
            logits=state.logits,
            facts={
                "stage": "search",
                "epoch": state.epoch,
                "temperature": state.temperature,
                "validation_accuracy": end["validation_accuracy"],
            },
        ),
    )
    genotype = decide(state.logits, state.network.blueprint)
    write_atomically(out / "genotype.json", genotype.to_json().encode())
    write_history(out / "history.tsv", history)
    open_edges = undecided(state.logits)
    say_if_undecided(open_edges, params.search)
    say_if_stopped(state.agreement)
    found = {"drop_at_start": drop, "undecided_edges": int(open_edges.sum())}
    write_json(out / "metrics.json", {**end, **found})
    return points.remove


if __name__ == "__main__":
    run_stage(Params, main, together=True)
