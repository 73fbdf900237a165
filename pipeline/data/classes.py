"""The class folders of one split: every name distinct to the eye, every folder with images."""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from pipeline.data.listing import Folder, composed, has_images, named_as_images
from pipeline.harness.errors import DataError
from pipeline.harness.showing import shown

Classes = Mapping[str, Folder]
"""Folder of each class by its name in composed Unicode, sorted by name."""


def class_folders(part: Folder) -> Classes:
    """Return the folders in `part`, each of which is a class.

    Raises:
        DataError: there are none, images lie beside them, one is empty, or two names look alike.
    """
    _require_class_folders(part)
    require_distinct(part.path, [folder.path.name for folder in part.folders], "class folder")
    for folder in part.folders:
        if not has_images(folder):
            raise DataError(
                f"{shown(folder.path)}: no images in this class; add some or remove the folder"
            )
    return {folder.name: folder for folder in part.folders}


def require_distinct(where: Path, names: Iterable[str], kind: str) -> None:
    """Raise DataError if the name of a class is not plain text, or looks like another's.

    where: the folder or table that has them. kind: what the names are of.
    """
    seen: dict[str, str] = {}
    for name in names:
        # Names go into JSON, tables and error lines: no control characters, no broken UTF-8.
        if any(unicodedata.category(character) in {"Cc", "Cs"} for character in name):
            raise DataError(f"{shown(where)}: {name!a}: the name of a class must be plain text")
        if twin := seen.get(look(name)):
            raise DataError(_look_alikes(where, twin, name, kind))
        seen[look(name)] = name


def require_same_classes(train: Folder, part: Folder, classes: Classes, other: Classes) -> None:
    """Raise DataError unless each class of a split is a training class, and the other way round."""
    looks = {look(name): name for name in classes}
    for name, folder in other.items():
        if name not in classes:
            twin = looks.get(look(name))
            hint = "" if twin is None else f"; rename it to {twin!r}, which looks alike"
            raise DataError(f"{shown(folder.path)}: no such class in {shown(train.path)}{hint}")
    for name in classes:
        if name not in other:
            where = f"{shown(part.path)}: no folder for class '{shown(name)}'"
            raise DataError(f"{where} of {shown(train.path)}")


def nested(classes: Classes) -> Iterator[Folder]:
    """Yield the folders within classes that hold more images of the class."""
    for folder in classes.values():
        yield from (inner for inner in folder.folders if has_images(inner))


def look(name: str) -> str:
    """Return a name in one Unicode form, without capitals and outer spaces, to compare it."""
    return composed(name).casefold().strip()


def _require_class_folders(part: Folder) -> None:
    expected = f"expected {shown(part.path)}/<class>/<image>"
    beside = named_as_images(part)
    if beside and any(map(has_images, part.folders)):
        raise DataError(
            f"{shown(beside[0])}: an image beside class folders;"
            " move it into the folder of its class, or remove it"
        )
    if beside:
        raise DataError(
            f"{shown(part.path)}: images without class folders; {expected}, a folder for each class"
        )
    if not part.folders:
        raise DataError(f"{shown(part.path)}: no class folders; {expected}")


def _look_alikes(where: Path, one: str, other: str, kind: str) -> str:
    same = composed(one) == composed(other)
    names = f"{one!a} and {other!a}" if same else f"{one!r} and {other!r}"
    why = ", which Unicode can write in two ways" if same else ""
    return f"{shown(where)}: the {kind}s {names} look alike{why}; merge or rename them"
