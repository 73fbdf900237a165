"""Kill stages with -9 at random instants, and check that every artifact is the same in the end.

    python benchmarks/kills.py [--kills 40] [--seed 0] [--longest 20] [--plain] [--tiny]

Runs the committed tree once without interruption, in a fresh clone where nothing is cached. Then
starts it again and again in another clone, and after a random time (at most `--longest` s) kills
one of: the stage, DVC, the front, all at once. If a run ends too early, another clone follows.
Every finished clone is compared with the first. `--plain` runs `dvc repro` without the repairs of
`aso-se run`. Prints a table and a JSON line; exits with 1 unless every artifact is the same, no run
needed manual repair and no process outlived its kill by 2 s.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table
from ruamel.yaml import YAML

from pipeline.running.recorded import read_outputs

SOURCE = Path(__file__).resolve().parents[1]
TINY = {
    "network": {"cells": 3, "nodes": 1, "channels": 4, "stem_multiplier": 1},
    "training": {"batch_size": 128, "evaluation_batch_size": 256, "sampled_paths": 1},
    "warmup": {"epochs": 2, "skip_epochs": 1},
    "search": {"epochs": 2},
    "growth": {"epochs": 4, "patience": 1, "settle": 1, "tolerance": 0.9},
    "optimize": {"epochs": 2},
}
VICTIMS = {"stage": " -m stages.", "dvc": " -m dvc repro", "front": " -m pipeline run", "all": ""}
GRACE_SECONDS = 2.0


@dataclass
class Account:
    """Counts of what happened. seconds: duration of all interrupted clones together."""

    victims: Counter[str] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)
    needed_a_hand: list[str] = field(default_factory=list)
    outlived: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    seconds: float = 0.0
    clones: int = 0


def clone(folder: Path, *, tiny: bool) -> Path:
    """Return a fresh clone in which no stage has run."""
    subprocess.run(["git", "clone", "--quiet", str(SOURCE), str(folder)], check=True)
    (folder / "dvc.lock").unlink()
    if tiny:
        params = YAML(typ="safe").load((folder / "params.yaml").read_text())
        for section, changes in TINY.items():
            params[section].update(changes)
        (folder / "params.yaml").write_text(json.dumps(params))
    return folder


def start(tree: Path, *, plain: bool) -> "subprocess.Popen[bytes]":
    """Start a run; its output goes to a file beside the tree."""
    words = ["dvc", "repro"] if plain else ["pipeline", "run"]
    here = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{here}{os.pathsep}{os.environ['PATH']}",
        "DVC_SITE_CACHE_DIR": str(tree / ".dvc" / "tmp" / "site-cache"),
        "DVC_NO_ANALYTICS": "1",
    }
    with tree.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", *words], cwd=tree, env=environment, stdout=log, stderr=log
        )


def processes_of(tree: Path) -> dict[psutil.Process, str]:
    """Return the processes that work in a tree, with their command lines."""
    found = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd().startswith(str(tree)) and process.status() != psutil.STATUS_ZOMBIE:
                found[process] = " " + " ".join(process.cmdline())
    return found


def kill_one(tree: Path, draw: random.Random, account: Account) -> None:
    """Kill one kind of process, drawn from those that run, and wait until all are gone."""
    alive = processes_of(tree)
    kinds = [kind for kind, mark in VICTIMS.items() if any(mark in line for line in alive.values())]
    kind = draw.choice(kinds)
    stage = next(
        (
            line.split(" -m stages.")[1].split()[0]
            for line in alive.values()
            if " -m stages." in line
        ),
        "between stages",
    )
    account.victims[kind] += 1
    account.stages[stage] += 1
    for process, line in alive.items():
        if VICTIMS[kind] in line:
            with suppress(psutil.Error):
                process.kill()
    until = time.monotonic() + GRACE_SECONDS
    while kind != "stage" and (left := _at_work(tree)) and time.monotonic() < until:
        time.sleep(0.02)
    if kind != "stage":
        account.outlived += [f"{kind} killed: {line}" for line in left]


def _at_work(tree: Path) -> list[str]:
    """Return the command lines of processes that could still write an artifact: DVC and stages."""
    lines = processes_of(tree).values()
    return [line for line in lines if VICTIMS["stage"] in line or VICTIMS["dvc"] in line]


def interrupted(tree: Path, kills: int, arguments: argparse.Namespace, account: Account) -> None:
    """Run a tree to its end, with at most `kills` kills on the way."""
    draw = random.Random(f"{arguments.seed} {account.clones}")  # noqa: S311 - not for secrets
    began = time.monotonic()
    while True:
        process = start(tree, plain=arguments.plain)
        killed = False
        if kills:
            with suppress(subprocess.TimeoutExpired):
                process.wait(draw.uniform(0.0, arguments.longest))
            if process.poll() is None:
                kill_one(tree, draw, account)
                kills, killed = kills - 1, True
        code = process.wait()
        if code == 0:
            break
        if not killed:
            log = tree.with_suffix(".log").read_text(errors="replace")
            account.needed_a_hand.append(f"exit code {code}: ...{log[-600:]}")
            return
    account.seconds += time.monotonic() - began
    account.clones += 1


def main() -> None:
    """Run, kill, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=20.0)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args()
    account = Account()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory() as folder:
        whole = clone(Path(folder) / "whole", tiny=arguments.tiny)
        began = time.monotonic()
        if start(whole, plain=arguments.plain).wait():
            sys.exit(whole.with_suffix(".log").read_text())
        uninterrupted = time.monotonic() - began
        expected = read_outputs(whole)
        while (left := arguments.kills - account.victims.total()) and not account.needed_a_hand:
            tree = clone(Path(folder) / f"killed-{account.clones}", tiny=arguments.tiny)
            interrupted(tree, left, arguments, account)
            if account.needed_a_hand:
                break
            found = read_outputs(tree)
            account.different += sorted(
                name for name in expected.keys() | found if expected.get(name) != found.get(name)
            )
    lost = (account.seconds - uninterrupted * account.clones) / max(1, account.victims.total())
    table = Table("kills (-9)", str(account.victims.total()))
    table.add_row("victims", str(dict(account.victims)))
    table.add_row("in stages", str(dict(account.stages)))
    table.add_row("artifacts compared", f"{len(expected)} in each of {account.clones} clones")
    table.add_row("different", str(account.different or 0))
    table.add_row("runs that needed manual repair", "\n".join(account.needed_a_hand) or "0")
    table.add_row("processes that outlived their kill", "\n".join(account.outlived) or "0")
    table.add_row("uninterrupted", f"{uninterrupted:.1f} s")
    table.add_row("lost per kill", f"{lost:.1f} s")
    Console(stderr=True).print(table)
    print(json.dumps({**vars(account), "uninterrupted": uninterrupted, "lost_per_kill": lost}))
    sys.exit(bool(account.different or account.needed_a_hand or account.outlived))


if __name__ == "__main__":
    main()
