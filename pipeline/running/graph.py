"""The graph of stages, read from `dvc.yaml`, its only definition."""

from collections.abc import Iterable
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import Any

from ruamel.yaml import YAML

from pipeline.harness.errors import RunError


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stage of `dvc.yaml`.

    params: sections of `params.yaml` or keys such as 'network.cells' that it reads. after: stages
    whose outputs it reads.
    """

    name: str
    description: str
    params: frozenset[str]
    after: frozenset[str]


def read_graph(tree: Path) -> tuple[Stage, ...]:
    """Return the stages, each after all stages that it reads from.

    Raises:
        RunError: there is no `dvc.yaml` in `tree`.
    """
    path = tree / "dvc.yaml"
    if not path.is_file():
        raise RunError(f"{path}: no such file; run this in a clone of the project")
    entries: dict[str, dict[str, Any]] = YAML(typ="safe").load(path.read_text(encoding="utf-8"))[
        "stages"
    ]
    outputs = {name: _outputs(entry) for name, entry in entries.items()}
    stages = {
        name: Stage(
            name=name,
            description=entry.get("desc", ""),
            params=frozenset(entry.get("params", [])),
            after=frozenset(
                other
                for other in entries
                if other != name and _reads(entry.get("deps", []), outputs[other])
            ),
        )
        for name, entry in entries.items()
    }
    order = TopologicalSorter({name: sorted(stage.after) for name, stage in stages.items()})
    return tuple(stages[name] for name in order.static_order())


def touched(graph: Iterable[Stage], keys: Iterable[str]) -> set[str]:
    """Return the names of the stages that read one of the params, and of all later stages."""
    read = {one for key in keys for one in (key, key.split(".")[0])}
    found: set[str] = set()
    for stage in graph:
        if stage.params & read or stage.after & found:
            found.add(stage.name)
    return found


def _outputs(entry: dict[str, Any]) -> set[PurePosixPath]:
    listed = [*entry.get("outs", []), *entry.get("metrics", []), *entry.get("plots", [])]
    return {PurePosixPath(next(iter(out)) if isinstance(out, dict) else out) for out in listed}


def _reads(deps: list[str], outputs: set[PurePosixPath]) -> bool:
    paths = [PurePosixPath(dep) for dep in deps]
    return any(_overlap(path, output) for path in paths for output in outputs)


def _overlap(one: PurePosixPath, other: PurePosixPath) -> bool:
    return one == other or one in other.parents or other in one.parents
