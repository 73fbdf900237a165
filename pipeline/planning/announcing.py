"""The line with which `aso-se run` says how long it will take."""

import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from threading import Event

from pipeline.harness.errors import DataError, ParamsError
from pipeline.harness.params_file import PARAMS_FILE, read_params
from pipeline.harness.places import FORECAST
from pipeline.params import Params
from pipeline.planning.images import PREPARED
from pipeline.prepared.facts import read_facts
from pipeline.running.repro import POLL_SECONDS, bound_to_this, environment_of_dvc

LONG = {"warmup", "search", "growth", "optimize", "reference"}
"""Stages that train; without them a run is short, and nothing is measured."""


def announce(tree: Path, stages: Mapping[str, int], stop: Event) -> None:
    """Say how long the stages take, if it is a minute or more.

    Params or images that cannot be used are left to the stages, which say what is wrong with them.

    stages: number of epochs that are already done of each stage. stop: event that ends it.
    """
    if not LONG & stages.keys():
        return
    try:
        read_params(Params, tree / PARAMS_FILE, whole=True)
        read_facts(tree / PREPARED)
    except (DataError, ParamsError):
        return
    words = [str(FORECAST), str(time.time()), *(f"{name}={done}" for name, done in stages.items())]
    command = [sys.executable, "-m", "pipeline.planning.forecast", *words]
    with subprocess.Popen(  # noqa: S603 - our own command, no shell
        bound_to_this(command),
        cwd=tree,
        env=environment_of_dvc(tree),
        stdin=subprocess.DEVNULL,
        process_group=0,  # Ctrl-C ends it by `stop`, without a traceback
    ) as child:
        while child.poll() is None:
            if stop.wait(POLL_SECONDS):
                child.terminate()
    shutil.rmtree(tree / FORECAST, ignore_errors=True)
