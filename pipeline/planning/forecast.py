"""How long stages will take, from a few real steps on the prepared images.

    python -m pipeline.planning.forecast FOLDER MOMENT STAGE=EPOCHS...

FOLDER is a place for a checkpoint, and left to the caller to remove: this may be killed. MOMENT is
when this process was started, in seconds since 1970. EPOCHS is the number that an interrupted run
has done of the stage, or 0. Not counted are growths and references that are no networks. `aso-se
run` starts this as a process of its own, so that its memory is free again before a stage starts.
"""

import sys
import time
from collections.abc import Mapping
from pathlib import Path

from pipeline.console.progress import about, say
from pipeline.devices.device import choose_device
from pipeline.harness.errors import AsoSeError
from pipeline.harness.params_file import read_params
from pipeline.harness.showing import shown
from pipeline.params import Params
from pipeline.planning.images import PREPARED
from pipeline.planning.measuring import Measured, measure
from pipeline.planning.timed import QUICK
from pipeline.referencing.params import ALL_PASSES, SearchPassesParams
from pipeline.referencing.passes import epochs_of_all_passes
from pipeline.referencing.side_by_side import at_once
from pipeline.supernet.supernet import SupernetContext, read_context


def forecast(folder: Path, moment: float, stages: Mapping[str, int]) -> str:
    """Measure a few steps; return the line to say, or '' if all stages take less than a minute.

    folder: place for a checkpoint. moment: when this process was started. stages: stages that will
    run, with the number of epochs that are already done.

    Raises:
        AsoSeError: the params, the images or the device cannot be used.
    """
    params = read_params(Params, whole=True)
    context = read_context(PREPARED, choose_device(), params)
    start = time.time() - moment
    kinds = params.reference.kinds
    measured = measure(context, params, folder, sample=QUICK, references=kinds)
    passes = _epochs_of_all_passes(params, context)
    together = at_once(kinds, context.images.device)
    seconds = seconds_by_stage(
        params, measured, stages, passes=passes, start=start, together=together
    )
    return sentence(seconds)


def seconds_by_stage(
    params: Params,
    measured: Measured,
    stages: Mapping[str, int],
    *,
    passes: int,
    start: float,
    together: int = 1,
) -> dict[str, float]:
    """Return the seconds of each of the stages.

    passes: epochs of optimize that make as many passes as all phases. start: seconds in which a
    process starts. together: number of references that train at once.
    """
    one = measured.seconds
    whole = {phase: getattr(params, phase).epochs * one[phase] for phase in one if phase in stages}
    if "search" in whole and "finalists" in one:
        whole["search"] += params.search.finalist_epochs * one["finalists"]
    if "reference" in stages:
        whole["reference"] = _seconds_of_references(params, measured, passes, together)
    done = {stage: count * one[stage] for stage, count in stages.items() if count}
    return {
        stage: start + max(0.0, whole.get(stage, 0.0) - done.get(stage, 0.0)) for stage in stages
    }


def sentence(seconds: Mapping[str, float]) -> str:
    """Return the line about the seconds of stages; '' if they are less than a minute together."""
    shown = about(sum(seconds.values()))
    if not shown:
        return ""
    parts = [f"{stage} {about(one)}" for stage, one in seconds.items() if about(one)]
    listed = f": {', '.join(parts)}" if parts else ""
    return f"about {shown} on this machine{listed} (less where DVC's cache has the result)"


def _seconds_of_references(params: Params, measured: Measured, passes: int, together: int) -> float:
    """Return the seconds of all references that are networks; the rest is not measured."""
    seconds = [
        one * (passes if kind.endswith(ALL_PASSES) else params.optimize.epochs)
        for kind, one in measured.references.items()
    ]
    busy = [0.0] * together
    for one in sorted(seconds, reverse=True):
        busy[busy.index(min(busy))] += one
    return max(busy)


def _epochs_of_all_passes(params: Params, context: SupernetContext) -> int:
    searched = trained = len(context.images)
    if params.optimize.use_validation:
        trained += len(context.validation)
    keys = SearchPassesParams.model_fields
    search = SearchPassesParams(**{key: getattr(params.search, key) for key in keys})
    return epochs_of_all_passes(
        params.warmup, search, params.growth, params.optimize, searched=searched, trained=trained
    )


def main() -> int:
    """Say how long the stages on the command line take, or why not; return the exit code.

    A stage meets the same full disk or broken device, and says what to do.
    """
    folder, moment, *words = sys.argv[1:]
    parts = (word.partition("=") for word in words)
    stages = {stage: int(done) for stage, _, done in parts}
    try:
        if line := forecast(Path(folder), float(moment), stages):
            say(line)
    except (AsoSeError, MemoryError, OSError, RuntimeError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        sys.stderr.write(f"how long it takes cannot be said: {shown(reason)}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
