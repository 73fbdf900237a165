"""DVC cannot see imports; this can.

A stage whose `deps` miss a file that its code reaches serves a stale result when that file is
edited. `problems` compares `dvc.yaml` with the import closure of each stage's file and with the
sections of params that it reads.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

PACKAGES = ("pipeline", "stages")


def problems(root: Path) -> list[str]:
    """Return one line per stage and thing that `dvc.yaml` under `root` gets wrong.

    An empty list is good.
    """
    stages: dict[str, Any] = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]
    found = []
    for name, stage in stages.items():
        recipe = root / "stages" / f"{name}.py"
        deps = [root / dep for dep in stage.get("deps", [])]
        closure = import_closure(recipe, root)
        found += [
            f"{name}: deps lack {path.relative_to(root)}, which its code imports"
            for path in sorted(closure)
            if not any(path == dep or dep in path.parents for dep in deps)
        ]
        for dep in deps:
            is_code = dep.relative_to(root).parts[0] in PACKAGES
            if is_code and not any(path == dep or dep in path.parents for path in closure):
                found.append(
                    f"{name}: deps name {dep.relative_to(root)}, which its code never imports"
                )
        tracked, read = set(stage.get("params", [])), sections(recipe)
        if root / "params.yaml" not in deps and tracked != read:
            found.append(f"{name}: params are {sorted(tracked)}, its Params reads {sorted(read)}")
    return found


def import_closure(start: Path, root: Path) -> set[Path]:
    """Return every project file that importing `start` may run, itself included.

    Empty `__init__.py` files are left out.

    Imports inside functions count: they run too.
    """
    closure: set[Path] = set()
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if path not in closure:
            closure.add(path)
            waiting.extend(imported_files(path, root))
    return {path for path in closure if path.read_text().strip()}


def imported_files(path: Path, root: Path) -> Iterator[Path]:
    """Yield the project files that one file imports, and the `__init__.py` of their packages."""
    names = set()
    own = path.relative_to(root).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # A relative import climbs one package per dot.
            above = own[: len(own) - node.level] if node.level else ()
            module = ".".join([*above, *filter(None, [node.module])])
            names |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    names.add(".".join(own))
    for name in names:
        parts = name.split(".")
        if parts[0] not in PACKAGES:
            continue
        for length in range(1, len(parts) + 1):
            base = root.joinpath(*parts[:length])
            yield from (
                file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()
            )


def sections(recipe: Path) -> set[str]:
    """Return the sections of params that a stage's `class Params` names."""
    for node in ast.parse(recipe.read_text(), str(recipe)).body:
        if isinstance(node, ast.ClassDef) and node.name == "Params":
            return {
                field.target.id
                for field in node.body
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
            }
    return set()
