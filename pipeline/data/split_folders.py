"""The folder that holds the classes of each split, found by the names of folders.

<class>/               classes only: all are training classes
train/ val/ test/      a folder for each split, in any letter case; the classes are inside
archive/...            one wrapping folder, or two, around either of them
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.classes import look
from pipeline.data.listing import Folder, has_images, named_as_images
from pipeline.harness.errors import DataError
from pipeline.harness.showing import shown

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Names of split folders, in lower case, and the split that each holds."""

FILLERS = frozenset({"data", "dataset", "images", "img", "imgs", "photos", "pictures", "set"})
"""Words that the name of a split folder may have besides, where a table has the labels."""

WRAPPERS = 2
"""Largest number of wrapping folders that are entered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Where a split is. levels: folders from the first to `classes`. entered: the wrapping ones."""

    levels: tuple[Folder, ...]
    entered: tuple[Folder, ...]

    @property
    def classes(self) -> Folder:
        """The folder that holds the class folders."""
        return self.levels[-1]


def parts(tree: Folder) -> Mapping[str, Part]:
    """Return where each split is; 'train' is always there.

    Raises:
        DataError: some folders are splits and others are not, a split is there twice, or the
            training split is missing.
    """
    first, *around = _entered(tree, may_be_split=False)
    found = {}
    for name, folder in _split_folders((first, *around)[-1]).items():
        split, *inside = _entered(folder, may_be_split=True)
        found[name] = Part(levels=(first, *around, split, *inside), entered=(*around, *inside))
    return found or {"train": Part(levels=(first, *around), entered=tuple(around))}


def split_of(folder: Folder) -> str | None:
    """Return the split that a folder is named after, or None."""
    return SPLITS.get(look(folder.name))


def split_in(name: str) -> str | None:
    """Return the only split that the words of a name say, as in 'trainLabels'; else None."""
    found = {SPLITS[word] for word in _words(name) if word in SPLITS}
    return found.pop() if len(found) == 1 else None


def split_around(path: Path) -> str | None:
    """Return the split of the nearest folder around that says one, as test_images/; else None."""
    for folder in path.parent.parts[::-1]:
        if (split := split_in(folder)) and _words(folder) <= SPLITS.keys() | FILLERS:
            return split
    return None


def _words(name: str) -> set[str]:
    return {word.casefold() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)}


def _entered(folder: Folder, *, may_be_split: bool) -> list[Folder]:
    """Enter a folder while all that it holds is one folder with folders of images."""
    levels = [folder]
    while len(levels) <= WRAPPERS and len(levels[-1].folders) == 1:
        (inner,) = levels[-1].folders
        is_split = split_of(inner) is not None and not may_be_split
        if is_split or named_as_images(levels[-1]) or not _holds_folders(inner):
            break
        levels.append(inner)
    return levels


def _holds_folders(folder: Folder) -> bool:
    """Whether images lie in the folders of a folder, and none beside those."""
    return not named_as_images(folder) and any(map(has_images, folder.folders))


def _split_folders(folder: Folder) -> Mapping[str, Folder]:
    """Return the folder of each split; empty if all folders are classes."""
    named = [one for one in folder.folders if split_of(one)]
    others = [one for one in folder.folders if not split_of(one) and has_images(one)]
    if {look(one.name) for one in (*named, *others)} == {"valid", "invalid"}:
        return {}  # the classes of a quality check
    splits: dict[str, Folder] = {}
    for one in named:
        name = SPLITS[look(one.name)]
        if twin := splits.get(name):
            raise DataError(
                f"{shown(one.path)}: the same split as {shown(twin.path)};"
                " put the images of both into one of them"
            )
        splits[name] = one
    _require_clear(splits, others, named_as_images(folder))
    return splits


def _require_clear(
    splits: Mapping[str, Folder], others: Sequence[Folder], beside: Sequence[Path]
) -> None:
    """Raise DataError if split folders have folders or images beside them, or lack `train`."""
    for folder in splits.values():
        name = shown(Path(folder.name))
        where = f"beside the split folder {name}/"
        if others:
            raise DataError(
                f"{shown(others[0].path)}: {where}; if it is a class, move it into"
                f" {name}/, or rename {name}/"
            )
        if beside:
            raise DataError(f"{shown(beside[0])}: an image {where}; move it into its class")
    if splits and "train" not in splits:
        folder = next(iter(splits.values()))
        raise DataError(
            f"{shown(folder.path)}: no train/ beside it;"
            " rename the folder of the training images to train"
        )
