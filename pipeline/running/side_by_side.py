"""`aso-se compare`: this tree's run, the experiments and the references in one narrow table."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from rich.console import JustifyMethod
from rich.table import Column, Table

from pipeline.comparison.references import read_references
from pipeline.console.progress import console, say
from pipeline.harness.errors import ExitCode, RunError
from pipeline.harness.params_file import PARAMS_FILE, read_text
from pipeline.harness.plain_yaml import plain_values, short, spelt
from pipeline.harness.showing import shown
from pipeline.running.changes import flat
from pipeline.running.ending import REFERENCES, duration
from pipeline.running.graph import require_clone
from pipeline.running.recorded import DVC_LOCK, read_stages
from pipeline.running.results import cost_in, metrics_in, read_metrics
from pipeline.running.saved import experiments, require_known
from pipeline.running.spent import Noted, read_tables, seconds_of

METRICS, HISTORY = "metrics.json", "history.tsv"
WORKSPACE = "workspace"
"""Name of the working tree's own run, which DVC gives it too."""
MOST_KEYS = 4
"""Number of params of a row that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A run or a reference.

    differs: params in which it differs from `params.yaml`, with its own values. accuracy: test
    accuracy, a fraction of 1, and its 95 % interval. seconds: time of all its epochs.
    """

    name: str
    differs: Mapping[str, Any] = field(default_factory=dict)
    accuracy: tuple[float, ...] | None = None
    parameters: float | None = None
    kilobytes: float | None = None
    milliseconds: float | None = None
    seconds: float | None = None


def compare(tree: Path, names: Collection[str]) -> int:
    """Print the rows of some names, or all; return 0.

    Raises:
        RunError: `tree` is not a clone, nothing ran in it, or there is no such name.
        ParamsError: `params.yaml` cannot be read.
    """
    require_clone(tree)
    groups = read_rows(tree)
    known = [row.name for rows in groups for row in rows]
    if not known:
        raise RunError("nothing ran here yet; 'aso-se run' runs it")
    for name in names:
        require_known(name, known, "run, experiment or reference")
    wanted = names or known
    console.print(_table([[row for row in rows if row.name in wanted] for rows in groups]))
    if (tree / REFERENCES).with_name(METRICS).exists() and not (tree / REFERENCES).exists():
        say("references: not in this clone; 'aso-se run' brings them")
    say("aso-se apply NAME takes an experiment over, aso-se try KEY=VALUE --name NAME makes one")
    return ExitCode.DONE


def read_rows(tree: Path) -> tuple[list[Row], list[Row], list[Row]]:
    """Return this tree's run, all experiments, and the references, the most accurate first."""
    params = plain_values(read_text(tree / PARAMS_FILE), str(PARAMS_FILE))
    tables = read_tables(tree)
    tried = [
        _run(
            one.name,
            _differing(plain_values(one.params(tree), f"params of {one.name}"), params),
            metrics_in(one.texts(tree, METRICS)),
            seconds_of(one.texts(tree, HISTORY), tables),
        )
        for one in experiments(tree).values()
    ]
    here = list(_workspace(tree, params, tables))
    return here, _best_first(tried), _best_first(_references(tree))


def _workspace(
    tree: Path, params: Mapping[str, Any], tables: Mapping[str, Sequence[Noted]]
) -> Iterator[Row]:
    """Yield this tree's run, if it has one, by the params that `dvc.lock` records."""
    if not (tree / DVC_LOCK).exists():
        return
    ran_with: dict[str, Any] = {}
    for stage in read_stages(tree).values():
        ran_with |= stage.get("params", {}).get(str(PARAMS_FILE), {})
    paths = sorted((tree / "artifacts").glob(f"*/{HISTORY}"))
    histories = {path.parent.name: path.read_text(encoding="utf-8") for path in paths}
    seconds = seconds_of(histories, tables)
    yield _run(WORKSPACE, _differing(ran_with, params), read_metrics(tree), seconds)


def _differing(ran_with: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params of a run that are others now, with their values in the run."""
    now = flat(params)
    return {key: old for key, old in flat(ran_with).items() if key not in now or now[key] != old}


def _run(
    name: str, differs: Mapping[str, Any], metrics: Mapping[str, float], seconds: float | None
) -> Row:
    bounds = [f"derive.test_accuracy{bound}" for bound in ("", "_low", "_high")]
    known = all(bound in metrics for bound in bounds)
    return Row(
        name=name,
        differs=differs,
        accuracy=tuple(metrics[bound] for bound in bounds) if known else None,
        parameters=cost_in(metrics, "parameters"),
        kilobytes=cost_in(metrics, "kilobytes"),
        milliseconds=cost_in(metrics, "milliseconds"),
        seconds=seconds,
    )


def _references(tree: Path) -> Iterator[Row]:
    path = tree / REFERENCES
    for one in read_references(path).compared if path.exists() else ():
        accuracy = (one.test_accuracy, one.low, one.high)
        yield Row(name=one.name, accuracy=accuracy, parameters=one.parameters)


def _best_first(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: row.accuracy or (-1.0,), reverse=True)


def _table(groups: Iterable[Sequence[Row]]) -> Table:
    """Return a table of groups with a line between them; columns that no row fills are left out."""
    groups = list(filter(None, groups))
    filled = {
        title: show
        for title, show in COLUMNS.items()
        if any(map(show, chain.from_iterable(groups)))
    }
    table = Table(Column("name", overflow="fold"))
    for title in filled:
        side: JustifyMethod = "left" if title == DIFFERS else "right"
        table.add_column(title, justify=side, overflow="fold")
    for rows in groups:
        for row in rows:
            table.add_row(shown(row.name), *(show(row) for show in filled.values()))
        table.add_section()
    return table


def _differs(row: Row) -> str:
    lines = [f"{key}={short(spelt(value))}" for key, value in row.differs.items()]
    if len(lines) > MOST_KEYS:
        lines[MOST_KEYS:] = [f"and {len(lines) - MOST_KEYS} more"]
    return "\n".join(map(shown, lines))


def _accuracy(row: Row) -> str:
    if row.accuracy is None:
        return ""
    accuracy, low, high = (f"{100 * one:.1f}" for one in row.accuracy)
    return f"{accuracy} ({low} to {high})"


DIFFERS = f"differs from {PARAMS_FILE}"
COLUMNS: dict[str, Callable[[Row], str]] = {
    DIFFERS: _differs,
    "test % (95 % interval)": _accuracy,
    "parameters": lambda row: _number(row.parameters, ",.0f"),
    "kB": lambda row: _number(row.kilobytes, ",.0f"),
    "ms": lambda row: _number(row.milliseconds, ".3g"),
    "trained": lambda row: "" if row.seconds is None else duration(row.seconds),
}
"""Columns, after the name."""


def _number(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"
