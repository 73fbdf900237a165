"""Which images belong to which class and split; for a folder, by the names of folders alone.

Either `<class>/<image>`, or the same in a folder for each split: `train`, and if there are `val`
and `test`. A folder that can be read in more than one way is refused.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.data.classes import Classes, class_folders, look, nested, require_same_classes
from pipeline.data.listing import Folder, has_images, images, skipped
from pipeline.data.split_folders import Part, parts, split_of
from pipeline.harness.errors import DataError
from pipeline.harness.showing import shown

Files = tuple[tuple[Path, ...], ...]
"""The images of each class, in the order of the classes."""
Stamps = tuple[tuple[str, int, int], ...]
"""Path, size and time of files, by which a change is seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The images of each split, or None where there is no such split.

    notes: lines to print. root: folder that the names of images start from. stand_ins: what the
    user calls a temporary folder, by the start of its path. stamps: of all files that were read.
    """

    classes: tuple[str, ...]
    train: Files
    validation: Files | None
    test: Files | None
    notes: tuple[str, ...]
    root: Path
    stand_ins: Mapping[str, str] = field(default_factory=dict)
    stamps: Stamps = ()

    def name(self, image: Path) -> str:
        """Return the name of an image: 'train/cat/1.jpg', 'photos.zip/cat/1.jpg', 'a.parquet/7'."""
        return image.relative_to(self.root).as_posix()

    def told(self, text: str) -> str:
        """Return a line with the paths that the user knows."""
        return renamed(text, self.stand_ins)


def renamed(text: str, stand_ins: Mapping[str, str]) -> str:
    """Return a line that names what temporary folders stand for."""
    for folder, name in stand_ins.items():
        text = text.replace(folder, name)
    return text


def read_layout(tree: Folder) -> Layout:
    """Find the classes and splits of a folder by its folders; no image is opened.

    Raises:
        DataError: its meaning is unclear; names the path.
    """
    splits = parts(tree)
    classes = _training_classes(splits["train"].classes)
    unlabelled = [name for name, part in splits.items() if _is_unlabelled(part.classes, classes)]
    labelled = {name: part for name, part in splits.items() if name not in unlabelled}
    found = {"train": classes}
    for name in [one for one in labelled if one != "train"]:
        found[name] = class_folders(splits[name].classes)
        require_same_classes(splits["train"].classes, splits[name].classes, classes, found[name])
    files = {name: tuple(images(other[one]) for one in classes) for name, other in found.items()}
    return Layout(
        classes=tuple(classes),
        train=files["train"],
        validation=files.get("validation"),
        test=files.get("test"),
        notes=(
            *dict.fromkeys(_entered(labelled)),
            *(_ignored(splits[name].classes, name) for name in unlabelled),
            *_nested(found),
            *skipped(tree, _outside(labelled)),
        ),
        root=tree.path,
    )


def _training_classes(train: Folder) -> Classes:
    classes = class_folders(train)
    if len(classes) == 1:
        (name,) = classes
        raise DataError(
            f"{shown(train.path)}: only one class, '{shown(name)}'; a classifier needs at least two"
        )
    for folder in classes.values():
        if len({split_of(one) for one in folder.folders} - {None}) > 1:
            raise DataError(
                f"{shown(folder.path)}: splits inside a class;"
                f" expected classes inside splits: {shown(train.path)}/train/<class>/<image>"
            )
    return classes


def _is_unlabelled(part: Folder, classes: Classes) -> bool:
    """Whether the images of a split lie in it without a class, or in one folder that is none."""
    if not any(map(has_images, part.folders)):
        return bool(part.files)
    names = {look(folder.name) for folder in part.folders}
    return len(names) == 1 and not part.files and not names & set(map(look, classes))


def _outside(splits: Mapping[str, Part]) -> list[Path]:
    """Return the files that lie in a folder around the classes; none has the suffix of an image."""
    around = {folder.path: folder for part in splits.values() for folder in part.levels}
    return [file for folder in around.values() for file in folder.files]


def _entered(splits: Mapping[str, Part]) -> Iterator[str]:
    for part in splits.values():
        for folder in part.entered:
            yield f"{shown(folder.path)}: entered, because the folder around it holds nothing else"


def _ignored(part: Folder, split: str) -> str:
    return (
        f"{shown(part.path)}: not read, as its images have no classes;"
        f" {split} images are taken from the training images"
    )


def _nested(splits: Mapping[str, Classes]) -> Iterator[str]:
    """Yield a line if a class has images in subfolders."""
    inner = [folder for classes in splits.values() for folder in nested(classes)]
    if inner:
        more = f" and {len(inner) - 1} other subfolders" if len(inner) > 1 else ""
        yield f"{shown(inner[0].path)}{more}: images in subfolders of a class belong to the class"
