"""Stages in this process, for a notebook or a script; nothing is cached, progress is shown.

    from stages.here import run

    run({"search.epochs": 5}, Path("experiment"))

docs/from-python.md has more.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from pipeline.harness.errors import RunError
from pipeline.harness.params_file import parse_params
from pipeline.running.graph import read_graph
from pipeline.running.overrides import compose

TREE = Path(__file__).resolve().parents[1]
ARTIFACTS = "artifacts"
"""Folder of all outputs in `dvc.yaml`."""


def run(
    changes: Mapping[str, Any],
    folder: Path,
    *,
    profile: str = "digits",
    stages: Sequence[str] | None = None,
) -> None:
    """Run stages in the order of `dvc.yaml`; each writes to the folder of its name in `folder`.

    A training stage that was interrupted goes on after its last epoch.

    changes: params that differ from the profile's, such as {"search.arch_update_freq": 3}. stages:
    names of those to run, whose inputs are in `folder`; None: all.

    Raises:
        AsoSeError: there is no such profile, key or stage, or what a stage meets.
    """
    text = compose(TREE, profile, changes)
    graph = read_graph(TREE)
    names = [stage.name for stage in graph]
    for name in stages or ():
        if name not in names:
            raise RunError(f"{name}: no such stage; there are {', '.join(names)}")
    for stage in graph:
        if stages is None or stage.name in stages:
            module = import_module(f"stages.{stage.name}")
            params = parse_params(module.Params, text, f"profile {profile}")
            places = [folder / path.relative_to(ARTIFACTS) for path in stage.arguments]
            if finish := module.main(params, *places):
                finish()
