"""The image that a cell of a table names, by its path or by a name that only one image has."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import dropwhile
from pathlib import Path
from posixpath import normpath

from pipeline.data.listing import composed
from pipeline.data.split_folders import split_around
from pipeline.harness.errors import DataError
from pipeline.harness.showing import shown


class Finder:
    """The images of a folder by path, name and name without suffix, in any letter case."""

    def __init__(self, images: Iterable[Path], root: Path) -> None:
        """Index the images. root: the folder that holds them all."""
        self.root = root
        self.by_path: dict[str, Path] = {}
        self.by_name: dict[str, list[Path]] = defaultdict(list)
        self.by_stem: dict[str, list[Path]] = defaultdict(list)
        self.folders: set[str] = set()
        self.splits: set[str | None] = set()
        for image in images:
            self.by_path[composed(self._relative(image).as_posix())] = image
            self.by_name[_key(image.name)].append(image)
            self.by_stem[_key(image.stem)].append(image)
            self.folders.update(self._folders(image))
            self.splits.add(self.split_of(image))

    def find(self, cell: str, table: Path, split: str | None, where: str) -> Path:
        r"""Return the image that a cell names.

        Args:
            cell: a path from the table's folder or from the root, a file name, or one without
                suffix; '/' or '\' separates folders.
            table: the file that the cell stands in.
            split: split of the table or row, if it has one.
            where: the row, for messages.

        Raises:
            DataError: there is no such image, or there are several.
        """
        found = self.candidates(cell, table, split)
        if len(found) == 1:
            return found[0]
        if found:
            names = " or ".join(shown(self._relative(image)) for image in found[:2])
            raise DataError(f"{where}: {shown(cell)} may be {names}; write the path")
        near = self._of_name(self._path(cell).rpartition("/")[2])
        remedy = f"if {shown(self._relative(near[0]))} is meant, write that" if near else "add it"
        raise DataError(
            f"{where}: no image {shown(cell)} in {shown(self.root)}; {remedy}, or remove the row"
        )

    def candidates(self, cell: str, table: Path, split: str | None) -> Sequence[Path]:
        """Return all images that a cell may name.

        A path that exists is taken at its word. Else the name decides, where the folders that the
        cell names agree with those of the image, and those of the image with the split.
        """
        path = self._path(cell)
        full = normpath((self._relative(table).parent / path).as_posix())
        for one in (full, path):
            if one in self.by_path:
                return (self.by_path[one],)
        *folders, name = path.split("/")
        folders = [_key(folder) for folder in folders if folder != ".."]
        if full.startswith(("/", "../")):  # of another machine: only what is below the root counts
            folders = list(dropwhile(lambda folder: folder not in self.folders, folders))
        found = [image for image in self._of_name(name) if self._agrees(image, folders)]
        return self._of_split(found, split or split_around(Path(*folders, name)))

    def split_of(self, image: Path) -> str | None:
        """Return the split of the folders around an image, or None."""
        return split_around(self._relative(image))

    def _path(self, cell: str) -> str:
        """Return the path in a cell with '/' between folders, from the root if it is below."""
        path = re.sub(r"^(\w+:|~)/+", "/", cell.replace("\\", "/"))  # C:/, https://
        return composed(normpath(path.removeprefix(f"{self.root.absolute().as_posix()}/")))

    def _of_name(self, name: str) -> Sequence[Path]:
        return self.by_name.get(_key(name)) or self.by_stem.get(_key(name)) or ()

    def _agrees(self, image: Path, folders: Sequence[str]) -> bool:
        """Whether the nearest folders of an image are these, as far as both are known."""
        own = self._folders(image)
        return all(one == other for one, other in zip(own[::-1], folders[::-1], strict=False))

    def _of_split(self, images: Sequence[Path], split: str | None) -> Sequence[Path]:
        """Return the images in folders of a split, or else those in folders of none.

        A split without folders of its own is a part of the training images. Without a split, all
        images are returned but those in test folders.
        """
        if split is None:
            return [image for image in images if self.split_of(image) != "test"]
        home = split if split in self.splits else "train"
        inside = [image for image in images if self.split_of(image) == home]
        return inside or [image for image in images if self.split_of(image) is None]

    def _folders(self, image: Path) -> Sequence[str]:
        """Return the names of the folders around an image; without any, that of the root."""
        parts = self._relative(image).parent.parts or (self.root.name,)
        return [_key(part) for part in parts]

    def _relative(self, path: Path) -> Path:
        return path.relative_to(self.root)


def _key(name: str) -> str:
    return composed(name).casefold()
