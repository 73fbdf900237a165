"""`aso-se status`: the state of each stage, what changed since, and the next command to type.

Changes are those of `dvc status`, so this never contradicts a run.
"""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from glob import glob
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any

from pipeline.console.progress import say
from pipeline.harness.errors import ParamsError, RunError
from pipeline.harness.params_file import PARAMS_FILE, parse_params, read_text
from pipeline.harness.places import LOCK, PROGRESS, RESUME
from pipeline.harness.plain_yaml import plain_values
from pipeline.locking.lock import is_held
from pipeline.params import Params
from pipeline.running.changes import Changes, changed, parts
from pipeline.running.experiments import dvc
from pipeline.running.graph import Stage, read_graph
from pipeline.running.recorded import DVC_LOCK, read_stages
from pipeline.running.repro import StoppedError
from pipeline.running.results import read_metrics

UP_TO_DATE, CHANGED, NEVER_RUN = "up to date", "changed", "never run"
RECORDED = "ran"
"""State of a stage in a tree that cannot be written to, where DVC cannot look for changes."""
NOT_HERE = "not in this clone"
"""State of a stage computed elsewhere or deleted: DVC's cache or remote may have its outputs."""

QUIET_CALLS = 15
"""Number of POLL_SECONDS, 3 s in all, after which `dvc status` is not waited for in silence."""

CONSTANT = "check"
"""Stage whose output is the same for all valid params, so no stage reruns because of it."""

SHOWN = {
    "test_accuracy": "test accuracy {:.1%}",
    "validation_accuracy": "validation accuracy {:.1%}",
    "train_accuracy": "training accuracy {:.1%}",
    "ahead_of_best": "{:+.1%} against the best reference",
    "max_difference": "logits within {:.0e} of torch's",
}
"""Metric that is shown for a stage, with its format: the first of these that the stage has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The state of one stage.

    changes: lines, one for each change since it ran. missing: whether an output is not even in
    DVC's cache.
    """

    stage: str
    state: str
    changes: tuple[str, ...] = ()
    missing: bool = False

    @property
    def will_run(self) -> bool:
        """Whether DVC will run the stage, unless it is in the cache of its runs."""
        return self.missing or self.state not in {UP_TO_DATE, NOT_HERE}


def report(tree: Path) -> int:
    """Print the state of each stage of a tree; return 0.

    Raises:
        RunError: `tree` is not a clone, there is no DVC, or `dvc.lock` is damaged.
        ParamsError: `params.yaml` cannot be read, or DVC cannot work with what it says.
    """
    graph = read_graph(tree)
    if (tree / LOCK).exists() and is_held(tree / LOCK):
        say(f"running: {(tree / LOCK).read_text(encoding='utf-8')}")
        say(_latest_epoch(tree))
        return 0
    recorded = _recorded(tree)
    if not os.access(tree, os.W_OK):
        states = {stage.name: RECORDED if stage.name in recorded else NEVER_RUN for stage in graph}
        _show(tree, [Standing(stage=one, state=states[one]) for one in states], recorded)
        say("\nchanges since are unknown: DVC finds them only in a tree that it can write to")
        return 0
    if find_spec("dvc") is None:
        raise RunError("dvc: not installed, so changes are unknown; run 'make install'")
    try:
        standings = read_standings(tree, graph)
    except RunError:
        _require_params(tree)  # if these are wrong, DVC has words of its own for it
        raise
    _show(tree, standings, recorded)
    say(f"\nnext: {_next(tree, standings)}")
    return 0


def read_standings(
    tree: Path, graph: Sequence[Stage], *, stop: Event | None = None
) -> list[Standing]:
    """Return the state of each stage, in the order of the graph, as DVC sees it.

    DVC hashes data that it has not seen yet, which may take minutes. stop: event that ends it.

    Raises:
        RunError: DVC cannot say it, `dvc.lock` is damaged, or it was stopped.
        ParamsError: `params.yaml` cannot be read.
    """
    params = plain_values(read_text(tree / PARAMS_FILE), str(PARAMS_FILE))
    changes = json.loads(dvc(tree, "status", "--json", waiting=_patience(stop or Event())))
    return stand(graph, _recorded(tree), changes, params, epochs_done(tree))


def stand(
    graph: Sequence[Stage],
    recorded: Mapping[str, Mapping[str, Any]],
    changes: Changes,
    params: Mapping[str, Any],
    epochs: Mapping[str, int],
) -> list[Standing]:
    """Return the state of each stage, in the order of the graph.

    Args:
        graph: stages, each after all stages that it reads from.
        recorded: record in `dvc.lock` of each stage that has run.
        changes: changes that DVC reports.
        params: current params.
        epochs: number of finished epochs of each interrupted stage.
    """
    to_run: set[str] = set()
    standings = []
    for stage in graph:
        found = changes.get(stage.name, ())
        lines = list(changed(recorded.get(stage.name, {}), found, changes, params))
        behind = sorted(stage.after & to_run - {CONSTANT})
        if stage.name not in recorded:
            state, lines = NEVER_RUN, []
        elif lines:
            state = CHANGED
        elif behind:
            state = f"follows {behind[-1]}"
        else:
            state = NOT_HERE if found else UP_TO_DATE
        if state != UP_TO_DATE and stage.name in epochs:
            total = params.get(stage.name, {}).get("epochs", "?")
            state = f"interrupted after epoch {epochs[stage.name]} of {total}"
        if state not in {UP_TO_DATE, NOT_HERE}:
            to_run.add(stage.name)
        missing = "not in cache" in parts(found, "changed outs").values()
        standings.append(
            Standing(stage=stage.name, state=state, changes=tuple(lines), missing=missing)
        )
    return standings


def epochs_done(tree: Path) -> dict[str, int]:
    """Return the number of epochs in the newest resume point of each stage that has one."""
    root = Path(os.environ.get("ASO_SE_RESUME") or tree / RESUME)
    points = []
    found = glob("*/*.safetensors", root_dir=root)  # noqa: PTH207 - Path.glob may raise as well
    for point in map(root.joinpath, found):
        with suppress(FileNotFoundError):  # another run deletes its points meanwhile
            points.append((point.stat().st_mtime_ns, point))
    return {point.parent.name.rpartition("-")[0]: int(point.stem) for _, point in sorted(points)}


def _patience(stop: Event) -> Callable[[], None]:
    """Return a function to call while DVC works, which says so once and ends it by `stop`."""
    calls = count(1)

    def waiting() -> None:
        if stop.is_set():
            raise StoppedError("stopped while DVC looked at what has changed")
        if next(calls) == QUIET_CALLS:
            say("looking at what has changed ...")

    return waiting


def _recorded(tree: Path) -> dict[str, dict[str, Any]]:
    return read_stages(tree) if (tree / DVC_LOCK).exists() else {}


def _show(
    tree: Path, standings: Sequence[Standing], recorded: Mapping[str, Mapping[str, Any]]
) -> None:
    metrics = read_metrics(tree)
    rows = [
        (one.stage, one.state, _metric(metrics, one.stage), _age(tree, recorded[one.stage]))
        if one.stage in recorded and _is_here(tree, recorded[one.stage])
        else (one.stage, one.state, "", "")
        for one in standings
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        say("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    changed = [f"{one.stage:{widths[0]}}  {line}" for one in standings for line in one.changes]
    if changed:
        say("\nchanged since:")
        for line in changed:
            say(line)


def _next(tree: Path, standings: Sequence[Standing]) -> str:
    """Return the command to type."""
    try:
        _require_params(tree)
    except ParamsError:
        return "aso-se check"
    if all(one.state == UP_TO_DATE for one in standings):
        return "aso-se predict artifacts/export/model.onnx IMAGE..."
    return "aso-se run"


def _require_params(tree: Path) -> None:
    """Raise ParamsError unless all params are valid."""
    parse_params(Params, read_text(tree / PARAMS_FILE), str(PARAMS_FILE), whole=True)


def _metric(metrics: Mapping[str, float], stage: str) -> str:
    found = (
        form.format(metrics[f"{stage}.{name}"])
        for name, form in SHOWN.items()
        if f"{stage}.{name}" in metrics
    )
    return next(found, "")


def _is_here(tree: Path, recorded: Mapping[str, Any]) -> bool:
    """Whether a stage's outputs are in the tree; Git has its metrics even where it never ran."""
    return all((tree / out["path"]).exists() for out in recorded.get("outs", ()))


def _age(tree: Path, recorded: Mapping[str, Any]) -> str:
    """Return how long ago the newest output of a stage was written, or ''."""
    paths = [tree / out["path"] for out in recorded.get("outs", ())]
    written = [path.stat().st_mtime for path in paths if path.exists()]
    if not written:
        return ""
    minutes = (time.time() - max(written)) / 60
    for unit, length in (("days", 24 * 60), ("hours", 60)):
        if minutes >= 2 * length:
            return f"{minutes // length:.0f} {unit} ago"
    return f"{minutes:.0f} minutes ago"


def _latest_epoch(tree: Path) -> str:
    """Return one line about the last epoch that has ended, in any stage."""
    histories = sorted((tree / PROGRESS).glob("*.tsv"), key=lambda path: path.stat().st_mtime_ns)
    if not histories:
        return "no epoch has ended yet"
    done = len(histories[-1].read_text(encoding="utf-8").splitlines()) - 1
    return f"the last epoch that ended is number {done} of {histories[-1].stem}"
