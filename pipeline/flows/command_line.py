"""`aso-se sweep`: run the flow from the words of a command line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect.settings import PREFECT_API_URL
from pydantic import ValidationError
from rich.table import Column, Table

from pipeline.console.progress import console, say
from pipeline.flows.server import answered, require_server
from pipeline.flows.sweeping import Ranking, check_space, sweep
from pipeline.harness.errors import ParamsError, RunError
from pipeline.harness.plain_yaml import plain_values
from pipeline.harness.showing import shown
from pipeline.running.graph import require_clone
from pipeline.running.proposals import Range, grid
from pipeline.running.results import check_metric

SHOWN = ("parameters", "kilobytes")
"""Costs that the ranking shows."""


def sweep_from_words(
    words: Sequence[str], *, trials: int | None, objective: str, pool: str | None, **settings: Any
) -> None:
    """Run a sweep in this process and print its ranking.

    Mistakes in the arguments are reported before Prefect takes seconds to start.

    Args:
        words: such as "search.arch_update_freq=3,5,7" or "search.arch_reach=1.0..8.0".
        trials: number of trials of an Optuna study; None for a grid.
        objective: metric to rank by.
        pool: work pool to run in; None for this clone.
        settings: other parameters of the flow.

    Raises:
        ParamsError: a word is malformed, or names an unknown param or an invalid value.
        RunError: there is no clone here, no such metric, or no server at its address; or the sweep
            failed.
    """
    tree = Path.cwd()
    require_clone(tree)
    space = dict(map(_choice, words))
    check_space(tree, space)
    check_metric(tree, objective)
    if trials is None:
        grid(space)
    if pool or PREFECT_API_URL.value():  # else the sweep starts a server, which no worker knows
        require_server()
    with answered():
        state = sweep(
            space=space,
            trials=trials,
            objective=objective,
            pool=pool,
            **settings,
            return_state=True,
        )
    if not state.is_completed():
        raise RunError(state.message or "the sweep failed")
    _print(state.result())


def _choice(word: str) -> tuple[str, list[Any] | Range]:
    """Return a key and its values, read as in `params.yaml`."""
    key, equals, values = word.partition("=")
    low, dots, high = values.partition("..")
    try:
        if equals and key and dots:
            return key, Range(**plain_values(f"{{low: {low}, high: {high}}}", word))
        if equals and key and values:
            return key, list(plain_values(f"values: [{values}]", word)["values"])
    except ValidationError:
        pass
    raise ParamsError(f"{word}: expected KEY=VALUE,VALUE,... or KEY=LOW..HIGH, LOW below HIGH")


def _print(ranking: Ranking) -> None:
    swept = list(ranking["best"])
    places = (
        [Column("place", overflow="fold")]
        if any(one["place"] for one in ranking["ranking"])
        else []
    )
    whole = [Column(name, no_wrap=True) for name in ("experiment", "objective", "state")]
    others = [Column(name, overflow="fold") for name in (*swept, *SHOWN)]
    table = Table("rank", *whole, *others, *places)
    for rank, one in enumerate(ranking["ranking"], start=1):
        value = "" if one["value"] is None else f"{one['value']:.6g}"
        cells = [shown(one["overrides"].get(key, "")) for key in swept]
        cells += [f"{one['costs'][key]:,.0f}" if key in one["costs"] else "" for key in SHOWN]
        cells += [shown(one["place"]) for _ in places]
        table.add_row(str(rank), one["experiment"], value, one["state"], *cells)
    console.print(table)
    ran = ", ".join(f"{stage} {times}" for stage, times in ranking["ran"].items())
    if ranking["picture"]:
        say(f"picture of cost and objective: {ranking['picture']}")
    say(f"stages that ran in completed experiments: {ran or 'none'}")
