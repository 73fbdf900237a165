"""Search: alternate steps of weights and architecture; the best architectures may compete.

    python -m stages.search artifacts/prepare artifacts/warmup artifacts/search

Starts from the warmed-up weights and logits; writes a checkpoint, the most likely genotype, the
histories of the search, of its edges and of its finalists, and metrics.
"""

from pathlib import Path

from pipeline.alternating import edges
from pipeline.alternating.params import SearchParams
from pipeline.batches.params import AugmentationParams
from pipeline.console.progress import say
from pipeline.console.stage import Finish, run_stage
from pipeline.deciding.decision import decide, undecided
from pipeline.devices.device import choose_device
from pipeline.harness.files import write_atomically
from pipeline.harness.records import write_history, write_json
from pipeline.harness.section import Section, Seed
from pipeline.prepared.facts import FACTS
from pipeline.searching.entering import entrants
from pipeline.searching.finals import Finals, hold
from pipeline.searching.search import Search, drop_at_start, say_if_stopped, say_if_undecided
from pipeline.space.checkpoint import read_checkpoint
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
    training: TrainingParams
    target: TargetParams
    search: SearchParams


def main(params: Params, prepare: Path, warmup: Path, out: Path) -> Finish:
    """Search from a warmed-up supernet."""
    context = read_context(prepare, choose_device(), params)
    warmed = read_checkpoint(warmup / "checkpoint.safetensors")
    warmed.require_fit("warmup", channels=context.channels, classes=context.classes)
    accuracy = warmed.fact(ACCURACY)
    phase = Search(
        context=context,
        params=params.search,
        checkpoint=warmup / "checkpoint.safetensors",
        expected=expected(warmed.network.blueprint, context, before=accuracy),
        budget=read_budget(params.target, context.image_size),
    )
    points = resume_points("search", params, prepare / FACTS, warmup)
    state, history = run(phase, points)
    seen = edges.rows(state.seen, state.network.blueprint, last=state.epoch)
    write_history(out / "edges.tsv", list(seen))

    finals = Finals(
        context=context,
        params=params.search,
        searched=state,
        entrants=entrants(context, params.search, state, phase.budget),
    )
    outcome = hold(finals, points.of("finalists"), before=float(history[-1][ACCURACY]))
    write_json(out / "finalists.json", outcome.document())

    genotype = decide(state.logits, state.network.blueprint)
    write_atomically(out / "genotype.json", genotype.to_json().encode())
    open_edges = undecided(state.logits)
    say(f"search: {summary(history, finals=outcome.rows, edges=open_edges.numel())}")
    say_if_undecided(open_edges, params.search)
    say_if_stopped(state.agreement)
    found = {
        "drop_at_start": drop_at_start(accuracy, history),
        "undecided_edges": int(open_edges.sum()),
    }
    facts = {"temperature": state.temperature, ACCURACY: outcome.accuracy}
    write_supernet(out, "search", state, history, facts=facts, metrics=found)
    return points.remove


if __name__ == "__main__":
    run_stage(Params, main, together=True)
