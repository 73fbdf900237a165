"""`aso-se sweep`: the flow, from words of a command line."""

from collections.abc import Sequence
from typing import Any

import yaml
from prefect.settings import PREFECT_API_URL
from pydantic import ValidationError
from rich.table import Table

from pipeline.errors import ParamsError, RunError
from pipeline.exchange.progress import console, say
from pipeline.flows.serving import require_server
from pipeline.flows.sweeping import Ranking, sweep
from pipeline.running.proposals import Range


def sweep_from_words(words: Sequence[str], **settings: Any) -> None:
    """Run a sweep in this process and print its ranking.

    Args:
        words: such as "search.arch_update_freq=3,5,7" or "search.arch_reach=1.0..8.0".
        settings: the other parameters of the flow.

    Raises:
        ParamsError: a word is neither.
        RunError: no server answers where one is named, or the sweep failed.
    """
    space = dict(map(_choice, words))
    if PREFECT_API_URL.value():
        require_server()
    state = sweep(space=space, **settings, return_state=True)
    if not state.is_completed():
        raise RunError(state.message or "the sweep failed")
    _print(state.result())


def _choice(word: str) -> tuple[str, list[Any] | Range]:
    """Return a key with its values, which are read as YAML."""
    key, equals, values = word.partition("=")
    low, dots, high = values.partition("..")
    try:
        if dots:
            return key, Range(low=yaml.safe_load(low), high=yaml.safe_load(high))
        found = [yaml.safe_load(value) for value in values.split(",")]
    except (yaml.YAMLError, ValidationError):
        equals = ""
    if not equals or not key or not values:
        raise ParamsError(f"{word}: expected KEY=VALUE,VALUE,... or KEY=LOW..HIGH")
    return key, found


def _print(ranking: Ranking) -> None:
    swept = list(ranking["best"])
    table = Table("rank", "experiment", "objective", "state", *swept)
    for rank, one in enumerate(ranking["ranking"], start=1):
        value = "" if one["value"] is None else f"{one['value']:.6g}"
        shown = [str(one["overrides"].get(key, "")) for key in swept]
        table.add_row(str(rank), one["experiment"], value, one["state"], *shown)
    console.print(table)
    ran = ", ".join(f"{stage} {times}" for stage, times in ranking["ran"].items())
    say(f"stages that ran in completed experiments: {ran or 'none'}")
