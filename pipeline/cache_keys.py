"""Dependencies of each stage, found in its code, because DVC does not see imports.

    python -m pipeline.cache_keys

writes the code in the `deps`, and the `params`, of every stage in `dvc.yaml`. A test fails if the
file differs: with a missing dep DVC would reuse a stale result, with a superfluous one it would
rerun a stage without need.

A dep is a whole folder if the stage reaches all code in it, else each file that it reaches.
"""

import ast
import importlib
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq

from pipeline.harness.files import write_atomically
from pipeline.harness.section import Section
from pipeline.params import Params

PACKAGES = ("pipeline", "stages")
HARMLESS = ("pipeline/console", "pipeline/summaries", "stages/__init__.py")
"""Code that no stage depends on: what a stage prints and how it is ended change no result."""
SHOWN = {"report": ("pipeline/summaries",)}
"""Stage -> code of these whose words its output has."""
FILE = Path("dvc.yaml")
WIDTH = 110


def main() -> None:
    """Rewrite `dvc.yaml`."""
    write_atomically(FILE, written(Path()).encode())


def written(root: Path) -> str:
    """Return the text of `dvc.yaml` under `root` with the deps and params that the code has."""
    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = WIDTH
    document = yaml.load((root / FILE).read_text(encoding="utf-8"))
    for name, stage in document["stages"].items():
        recipe = root / "stages" / f"{name}.py"
        data = [dep for dep in stage.get("deps", []) if not is_code(dep)]
        stage["deps"] = [*data, *code_deps(recipe, root)]
        tracked = [] if "params.yaml" in data else list(params_of(recipe))
        if tracked and "params" not in stage:
            stage.insert(list(stage).index("deps"), "params", [])
        if tracked:
            stage["params"] = CommentedSeq(tracked)
            stage["params"].fa.set_flow_style()
        else:
            stage.pop("params", None)
    text = StringIO()
    yaml.dump(document, text)
    return re.sub(r" +$", "", text.getvalue(), flags=re.MULTILINE)


def problems(root: Path) -> list[str]:
    """Return one line for each mistake in `dvc.yaml` under `root`."""
    yaml = YAML(typ="safe")
    stages = yaml.load((root / FILE).read_text(encoding="utf-8"))["stages"]
    right = yaml.load(written(root))["stages"]
    found = []
    for name, stage in stages.items():
        for kind, lacking, surplus in (
            ("deps", "its code imports", "its code never imports"),
            ("params", "its Params reads", "its Params never reads"),
        ):
            has, needs = stage.get(kind, []), right[name].get(kind, [])
            found += [
                f"{name}: {kind} lack {one}, which {lacking}" for one in needs if one not in has
            ]
            found += [
                f"{name}: {kind} name {one}, which {surplus}" for one in has if one not in needs
            ]
    return found


def is_code(dep: str) -> bool:
    """Whether a dep is code of the project."""
    return Path(dep).parts[0] in PACKAGES


def code_deps(recipe: Path, root: Path) -> list[str]:
    """Return the folders and files that importing a stage's file may run, in the form of `deps`."""
    harmless = {root / name for name in HARMLESS if name not in SHOWN.get(recipe.stem, ())}
    closure = {
        path for path in import_closure(recipe, root) if not harmless & {path, *path.parents}
    }
    deps = set()
    for path in closure:
        whole = [
            folder
            for folder in path.parents
            if root / PACKAGES[0] in folder.parents and code_in(folder) <= closure
        ]
        deps.add(max(whole, key=lambda folder: -len(folder.parts), default=path))
    return sorted(dep.relative_to(root).as_posix() for dep in deps)


def code_in(folder: Path) -> set[Path]:
    """Return the files of a folder that contain code."""
    return {path for path in folder.rglob("*.py") if path.read_text(encoding="utf-8").strip()}


def import_closure(start: Path, root: Path) -> set[Path]:
    """Return every project file that importing `start` may run, itself included.

    Empty `__init__.py` files are left out. Imports inside functions count: they run too.
    """
    closure: set[Path] = set()
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if path not in closure:
            closure.add(path)
            waiting.extend(imported_files(path, root))
    return {path for path in closure if path.read_text(encoding="utf-8").strip()}


def imported_files(path: Path, root: Path) -> Iterator[Path]:
    """Yield the project files that one file imports, and the `__init__.py` of their packages."""
    names = set()
    own = path.relative_to(root).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
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


def params_of(recipe: Path) -> Iterator[str]:
    """Yield what a stage's `class Params` reads: whole sections, or single keys of a section."""
    tree = ast.parse(recipe.read_text(encoding="utf-8"), str(recipe))
    modules = {
        alias.name: node.module
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    [own] = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Params"]
    for field in own.body:
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            section, annotation = field.target.id, ast.unparse(field.annotation)
            whole = _keys(Params.model_fields[section].annotation)
            read = whole
            if module := modules.get(annotation):
                read = _keys(getattr(importlib.import_module(module), annotation))
            yield from [section] if read == whole else (f"{section}.{key}" for key in sorted(read))


def _keys(model: Any) -> set[str]:
    """Return the keys of a section; a single value has none."""
    is_section = isinstance(model, type) and issubclass(model, Section)
    return set(model.model_fields) if is_section else set()


if __name__ == "__main__":
    main()
