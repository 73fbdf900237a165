"""The graph of stages, read from `dvc.yaml`, its only definition."""

from collections.abc import Iterable
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import Any

from ruamel.yaml import YAML

from pipeline.harness.errors import RunError
from pipeline.harness.places import GRAPH, where_to_run


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stage of `dvc.yaml`.

    params: sections of `params.yaml` or keys such as 'network.cells' that it reads. after: stages
    whose outputs it reads. arguments: paths of its command: what it reads, then what it writes.
    """

    name: str
    description: str
    params: frozenset[str]
    after: frozenset[str]
    arguments: tuple[PurePosixPath, ...] = ()


def require_clone(tree: Path) -> None:
    """Raise RunError if `tree` holds no pipeline."""
    if not (tree / GRAPH).is_file():
        raise RunError(f"{tree}: holds no {GRAPH}; {where_to_run(tree)}")


def read_graph(tree: Path) -> tuple[Stage, ...]:
    """Return the stages, each after all stages that it reads from.

    Raises:
        RunError: there is no `dvc.yaml` in `tree`.
    """
    entries = _entries(tree)
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
            arguments=tuple(
                map(PurePosixPath, entry["cmd"].partition(f"stages.{name}")[2].split())
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


def kept_by_git(tree: Path) -> set[str]:
    """Return the paths of the outputs that DVC's cache does not hold; errors as `read_graph`."""
    outs = [out for entry in _entries(tree).values() for out in _listed(entry)]
    options = {path: given for out in outs if isinstance(out, dict) for path, given in out.items()}
    return {path for path, given in options.items() if not given.get("cache", True)}


def _entries(tree: Path) -> dict[str, dict[str, Any]]:
    path = tree / GRAPH
    if not path.is_file():
        raise RunError(f"{path}: no such file; {where_to_run(tree)}")
    entries: dict[str, dict[str, Any]] = YAML(typ="safe").load(path.read_text(encoding="utf-8"))[
        "stages"
    ]
    return entries


def _outputs(entry: dict[str, Any]) -> set[PurePosixPath]:
    outs = _listed(entry)
    return {PurePosixPath(next(iter(out)) if isinstance(out, dict) else out) for out in outs}


def _listed(entry: dict[str, Any]) -> list[Any]:
    return [*entry.get("outs", []), *entry.get("metrics", []), *entry.get("plots", [])]


def _reads(deps: list[str], outputs: set[PurePosixPath]) -> bool:
    paths = [PurePosixPath(dep) for dep in deps]
    return any(_overlap(path, output) for path in paths for output in outputs)


def _overlap(one: PurePosixPath, other: PurePosixPath) -> bool:
    return one == other or one in other.parents or other in one.parents
