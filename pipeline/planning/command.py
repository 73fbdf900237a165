"""`aso-se plan`: the epochs of all phases for a given time, written into `params.yaml`.

Seconds are measured once; from then on only the params matter, so a result depends on no clock.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.console.progress import say
from pipeline.devices.device import choose_device
from pipeline.harness.errors import DeviceBusyError, ParamsError
from pipeline.harness.lacks import is_lack_of_memory
from pipeline.harness.params_file import PARAMS_FILE, parse_params, read_text
from pipeline.harness.places import LOCK
from pipeline.locking.lock import hold, signature
from pipeline.params import Params
from pipeline.planning.epochs import Epochs, duration, fit, parts_of_warmup
from pipeline.planning.images import prepared
from pipeline.planning.measuring import Measured, measure
from pipeline.planning.timed import THOROUGH
from pipeline.referencing.params import TRAINED
from pipeline.running.front import refuse
from pipeline.running.overrides import replace
from pipeline.running.params_file import use_params
from pipeline.supernet.supernet import read_context


def plan(tree: Path, minutes: float, *, dry_run: bool) -> int:
    """Show the epochs that take about `minutes`, and write them unless `dry_run`; return 0.

    Raises:
        ParamsError: `params.yaml` is missing, invalid or edited meanwhile, or the plan exceeds the
            limits of a param.
        DataError: the images cannot be prepared or read.
        DeviceError: the device does not exist, or its memory does not suffice.
        RunError: the minutes are too few, or another run uses the tree.
    """
    text = read_text(tree / PARAMS_FILE)
    params = parse_params(Params, text, str(PARAMS_FILE), whole=True)
    with hold(tree / LOCK, signature("aso-se plan"), waiting=refuse):
        measured = _measure(tree, params)
        before = {phase: _value(params, key_of(phase)) for phase in measured.seconds}
        after = fit(before, measured.seconds, 60 * minutes)
        changes = changes_for(params, after)
        planned = replace(text, changes) if changes else text
        parse_params(Params, planned, f"--minutes {minutes:g}", whole=True)
        for line in (*_table(before, after, measured.seconds), *_notes(params, changes, measured)):
            say(line)
        if dry_run:
            say(f"\n{PARAMS_FILE}: as it was; without --dry-run these epochs are written")
            return 0
        if read_text(tree / PARAMS_FILE) != text:
            raise ParamsError(f"{PARAMS_FILE}: edited while steps were measured; plan it again")
        kept = use_params(tree, planned)
    say(f"\n{PARAMS_FILE}: has these epochs now; 'aso-se run' runs it")
    if kept:
        say(f"{kept.name}: copy of your own {PARAMS_FILE}")
    return 0


def changes_for(params: Params, after: Epochs) -> dict[str, int]:
    """Return the params that a plan changes, by keys such as 'warmup.epochs'."""
    wanted = {key_of(phase): count for phase, count in after.items()}
    for key, count in parts_of_warmup(params.warmup, after["warmup"]).items():
        wanted[f"warmup.{key}"] = count
    return {key: count for key, count in wanted.items() if count != _value(params, key)}


def key_of(phase: str) -> str:
    """Return the param that says how many epochs a phase has."""
    return "search.finalist_epochs" if phase == "finalists" else f"{phase}.epochs"


def _value(params: Params, key: str) -> int:
    section, _, name = key.partition(".")
    value: int = getattr(getattr(params, section), name)
    return value


def _measure(tree: Path, params: Params) -> Measured:
    with prepared(tree) as images, TemporaryDirectory(prefix="aso-se-plan-") as folder:
        try:
            context = read_context(images, choose_device(), params)
            return measure(context, params, Path(folder), sample=THOROUGH)
        except (MemoryError, RuntimeError) as error:
            if not is_lack_of_memory(error):
                raise
            raise DeviceBusyError(
                "out of memory while a step was measured; free some, or choose a smaller network"
            ) from None


def _table(
    before: Mapping[str, int], after: Mapping[str, int], seconds: Mapping[str, float]
) -> Iterator[str]:
    """Yield the lines about the epochs of each phase."""
    yield f"\n{'phase':<10}{'epochs before':>15}{'epochs after':>15}{'minutes':>10}"
    for phase, count in after.items():
        minutes = count * seconds[phase] / 60
        yield f"{phase:<10}{before[phase]:>15}{count:>15}{minutes:>10.1f}"
    yield f"{'all':<10}{'':>30}{duration(after, seconds) / 60:>10.1f}"


def _notes(params: Params, changes: Mapping[str, int], measured: Measured) -> Iterator[str]:
    """Yield the lines about what else changes, what is assumed, and what comes on top."""
    yield ""
    for key in ("warmup.skip_epochs", "warmup.ramp_epochs"):
        if key in changes:
            yield f"{key}: {changes[key]}, was {_value(params, key)}, to fit into warmup"
    yield (
        "assumed: one process; an epoch of growth takes as long as one of search, that of a"
        " finalist as one of warmup; optimize trains the largest"
        f" network that growth allows ({measured.size.cells} cells, {measured.size.channels}"
        " channels)"
    )
    yield "on top: the start of each stage, prepare, growths, derive, reference, export and report"
    if trained := [kind for kind in params.reference.kinds if kind in TRAINED]:
        yield f"on top: the training of {', '.join(trained)}, each of optimize's epochs or more"
