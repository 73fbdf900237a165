"""`aso-se try`: an experiment with changed params, beside whatever the working tree does."""

import time
from collections.abc import Iterable
from pathlib import Path
from threading import Event
from typing import NoReturn

from pipeline.console.progress import say
from pipeline.harness.errors import ExitCode, RunError
from pipeline.harness.params_file import PARAMS_FILE
from pipeline.harness.plain_yaml import plain_values
from pipeline.running.ending import duration, findings
from pipeline.running.experiments import check_name, git, isolated, keep_model, save, snapshot
from pipeline.running.front import Announce, reproduce, stopped_by_signals
from pipeline.running.graph import require_clone
from pipeline.running.overrides import compose, read_overrides
from pipeline.running.saved import experiments


def try_out(tree: Path, words: Iterable[str], name: str, *, announce: Announce) -> int:
    """Run the tracked files of a tree with some params changed, and save the result for DVC.

    It runs in a worktree of its own. SIGINT and SIGTERM end it; the same words go on from there.

    Args:
        tree: a clone, which stays as it is, and may be in use.
        words: such as 'search.arch_update_freq=3'.
        name: name of the experiment.
        announce: function that says how long stages take.

    Returns:
        0, the exit code of the stage that failed, 75 if a signal ended it, else 1.

    Raises:
        ParamsError: a word names an unknown param or an invalid value.
        RunError: `tree` is not a clone, the name is no name, or another experiment has it.
    """
    require_clone(tree)
    check_name(name)
    params = compose(tree, None, read_overrides(words))
    _require_free(tree, name, params)
    stop = stopped_by_signals()
    try:
        return _run(tree, name, params, announce=announce, stop=stop)
    except RunError:
        if stop.is_set():  # Ctrl-C ends Git and DVC too, whichever was at work
            return ExitCode.INTERRUPTED
        raise


def _require_free(tree: Path, name: str, params: str) -> None:
    """Raise RunError if an experiment on HEAD has the name, but other params."""
    old = experiments(tree).get(name)
    if old is None or old.baseline != git(tree, "rev-parse", "HEAD").strip():
        return
    before = plain_values(old.params(tree), f"{PARAMS_FILE} of {name}")
    if before != plain_values(params, str(PARAMS_FILE)):
        raise RunError(
            f"{name}: an experiment with other params has this name; choose another,"
            f" or remove it: 'dvc exp remove {name}'"
        )


def _run(tree: Path, name: str, params: str, *, announce: Announce, stop: Event) -> int:
    def refuse(_: str) -> NoReturn:
        raise RunError(f"{name}: is running already; choose another name, or wait for it")

    began = time.monotonic()
    with isolated(tree, name, commit=snapshot(tree), params=params, waiting=refuse) as folder:
        if code := reproduce(folder, announce=announce, stop=stop):
            return code
        say("")
        for line in findings(folder):
            say(line)
        save(tree, folder, name)
        model = keep_model(tree, folder, name)
    say(f"this experiment took {duration(time.monotonic() - began)}; {PARAMS_FILE} is unchanged")
    say(f"model   {model.relative_to(tree)}")
    say("next    aso-se compare")
    say(f"        aso-se apply {name}")
    return ExitCode.DONE
