"""What a run has to do, before it starts: the stages that DVC will run."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from pipeline.harness.errors import ParamsError, RunError
from pipeline.running.graph import Stage, read_graph
from pipeline.running.status import NOT_HERE, epochs_done, read_standings

PREPARE = "prepare"
"""Stage that writes the images, without which no step can be measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """The stages that a run will run.

    stages: number of epochs that are already done of each stage, in the order of the run. prepares:
    whether later ones of them wait for images that are not there.
    """

    stages: Mapping[str, int] = field(default_factory=dict)
    prepares: bool = False


def look_ahead(tree: Path, targets: Sequence[str], *, force: bool, stop: Event) -> Ahead:
    """Return what `dvc repro` will do; nothing if it will refuse, because it then says why.

    It is also nothing if a forced run will prepare the images anew: only then could steps be
    measured, and preparing them before would do that twice.

    What DVC can restore from the cache of its runs is among the stages: it says so only in the run.

    targets: stages to bring up to date; none: all. stop: event that ends this.
    """
    try:
        graph = read_graph(tree)
        standings = read_standings(tree, graph, stop=stop)
    except (ParamsError, RunError):
        return Ahead()
    wanted = _with_all_before(graph, targets)
    outdated = {one.stage: one for one in standings if one.will_run and one.stage in wanted}
    # A new worktree or clone may have its images in DVC's cache alone.
    absent = {one.stage for one in standings if one.will_run or one.state == NOT_HERE}
    order = [one.stage for one in standings]
    last = next(reversed(outdated), PREPARE)
    prepares = PREPARE in absent and order.index(last) > order.index(PREPARE)
    if force and prepares:
        return Ahead()
    done = epochs_done(tree)
    stages = {
        one.stage: 0 if one.changes else done.get(one.stage, 0)
        for one in standings
        if one.stage in (wanted if force else outdated)
    }
    return Ahead(stages=stages, prepares=prepares)


def _with_all_before(graph: Iterable[Stage], targets: Sequence[str]) -> set[str]:
    """Return the targets and all stages that they need; none if a target is not a stage."""
    after = {stage.name: stage.after for stage in graph}
    if not after.keys() >= set(targets):
        return set()
    found: set[str] = set()
    rest = set(targets or after)
    while rest:
        name = rest.pop()
        found.add(name)
        rest |= after[name] - found
    return found
