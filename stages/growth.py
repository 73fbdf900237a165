"""Growth: continue the search, and grow the network when accuracy stagnates.

    python -m stages.growth artifacts/prepare artifacts/search artifacts/growth

Writes a checkpoint of the grown supernet, its genotype, every growth with its verdict, the
histories of the epochs and of the edges, and metrics.
"""

from dataclasses import asdict
from pathlib import Path

from pipeline.alternating import edges
from pipeline.alternating.params import SearchParams
from pipeline.batches.params import AugmentationParams
from pipeline.console.progress import say
from pipeline.console.stage import Finish, run_stage
from pipeline.deciding.decision import decide
from pipeline.devices.device import choose_device
from pipeline.growing.grow import KEPT_ACCURACY, Growth
from pipeline.growing.params import GrowthParams
from pipeline.growing.state import summarize
from pipeline.harness.files import write_atomically
from pipeline.harness.records import write_history, write_json
from pipeline.harness.section import Section, Seed
from pipeline.prepared.facts import FACTS
from pipeline.space.checkpoint import read_checkpoint
from pipeline.space.params import NetworkParams
from pipeline.summaries.summary import summary
from pipeline.supernet.records import write_supernet
from pipeline.supernet.supernet import ACCURACY, expected, read_context
from pipeline.targeting.budget import read_budget
from pipeline.targeting.params import TargetParams
from pipeline.training.loop import run
from pipeline.training.params import TrainingParams
from pipeline.training.resume import resume_points


class Params(Section):
    """The sections that this stage depends on."""

    seed: Seed
    augmentation: AugmentationParams
    network: NetworkParams
    training: TrainingParams
    target: TargetParams
    search: SearchParams
    growth: GrowthParams


def main(params: Params, prepare: Path, search: Path, out: Path) -> Finish:
    """Grow the network that search found."""
    context = read_context(prepare, choose_device(), params)
    searched = read_checkpoint(search / "checkpoint.safetensors")
    searched.require_fit("search", channels=context.channels, classes=context.classes)
    accuracy, blueprint = searched.fact(ACCURACY), searched.network.blueprint
    phase = Growth(
        context=context,
        network=params.network,
        search=params.search,
        params=params.growth,
        checkpoint=search / "checkpoint.safetensors",
        expected=expected(blueprint, context, before=accuracy, accuracy=KEPT_ACCURACY),
        budget=read_budget(params.target, context.image_size, params.network),
    )
    points = resume_points("growth", params, prepare / FACTS, search)
    state, history = run(phase, points)

    grown = state.search
    seen = edges.rows(grown.seen, grown.network.blueprint, last=grown.epoch)
    write_history(out / "edges.tsv", list(seen))
    genotype = decide(grown.logits, grown.network.blueprint, params.network)
    write_atomically(out / "genotype.json", genotype.to_json().encode())
    write_json(out / "growth.json", {"events": [asdict(event) for event in state.events]})
    write_supernet(out, "growth", grown, history, facts={}, metrics=summarize(state.events))
    count = grown.logits[..., 0].numel()
    say(f"growth: {summary(history, edges=count, growths=state.events)}")
    return points.remove


if __name__ == "__main__":
    run_stage(Params, main, together=True)
