"""Growth: search on, and let the network grow where that no longer helps.

    python -m stages.growth artifacts/prepare artifacts/search artifacts/growth

Writes a checkpoint of the grown supernet, its genotype, every growth with its verdict, the history
and metrics.
"""

from dataclasses import asdict
from functools import partial
from pathlib import Path

from pipeline.batches.images import read_images
from pipeline.batches.params import AugmentationParams
from pipeline.devices.device import choose_device
from pipeline.growing.grow import KEPT_ACCURACY, epochs
from pipeline.growing.params import GrowthParams
from pipeline.growing.state import Recipe, resumed, snapshot, start, summarize
from pipeline.harness.files import write_atomically
from pipeline.harness.records import write_history, write_json
from pipeline.harness.section import Section, Seed
from pipeline.harness.stage import Finish, run_stage
from pipeline.prepared.facts import read_facts
from pipeline.searching.params import SearchParams
from pipeline.space.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from pipeline.space.params import NetworkParams
from pipeline.space.relaxation import decide
from pipeline.supernet.supernet import METRICS, SearchImages, expected
from pipeline.training.loop import Phase, run
from pipeline.training.params import TrainingParams
from pipeline.training.resume import resume_points


class Params(Section):
    """The sections that this stage depends on."""

    seed: Seed
    augmentation: AugmentationParams
    network: NetworkParams
    training: TrainingParams
    search: SearchParams
    growth: GrowthParams


def main(params: Params, prepare: Path, search: Path, out: Path) -> Finish:
    """Grow the network that search found."""
    device = choose_device()
    checkpoint = search / "checkpoint.safetensors"
    searched = read_checkpoint(checkpoint)
    facts = read_facts(prepare)
    searched.require_fit("search", channels=facts.channels, classes=len(facts.classes))
    images = SearchImages(
        training=read_images(prepare, "train", device),
        validation=read_images(prepare, "validation", device),
    )
    recipe = Recipe(
        network=params.network,
        training=params.training,
        augmentation=params.augmentation,
        search=params.search,
        growth=params.growth,
    )

    points = resume_points("growth", params, prepare, search)
    phase = Phase(
        begin=lambda: start(
            read_checkpoint(checkpoint, device), recipe, images=len(images.training)
        ),
        epochs=lambda state, slowdown: epochs(state, images, recipe, params.seed, slowdown),
        snapshot=snapshot,
        resumed=partial(resumed, training=params.training, device=device),
    )
    state, history = run(
        phase,
        points,
        epochs=params.growth.epochs,
        images=len(images.training),
        expected=expected(
            searched.network.blueprint,
            images,
            before=searched.fact("validation_accuracy"),
            accuracy=KEPT_ACCURACY,
        ),
        max_recoveries=params.training.max_recoveries,
    )

    end = {key: history[-1][key] for key in METRICS}
    grown = state.search
    write_checkpoint(
        out / "checkpoint.safetensors",
        Checkpoint(
            network=grown.network,
            logits=grown.logits,
            facts={"stage": "growth", "epoch": grown.epoch},
        ),
    )
    genotype = decide(grown.logits, grown.network.blueprint)
    write_atomically(out / "genotype.json", genotype.to_json().encode())
    write_json(out / "growth.json", {"events": [asdict(event) for event in state.events]})
    write_history(out / "history.tsv", history)
    write_json(out / "metrics.json", {**end, **summarize(state.events)})
    return points.remove


if __name__ == "__main__":
    run_stage(Params, main, together=True)
