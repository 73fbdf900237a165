"""The image that a cell of a table names, by its path or by a name that only one image has."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.data.listing import composed
from pipeline.data.split_folders import split_around
from pipeline.harness.errors import DataError
from pipeline.photos.decoding import shown


class Finder:
    """The images of a folder by path, name and name without suffix, in any letter case."""

    def __init__(self, images: Iterable[Path], root: Path) -> None:
        """Index the images. root: the folder that holds them all."""
        self.root = root
        self.by_path: dict[str, Path] = {}
        self.by_name: dict[str, list[Path]] = defaultdict(list)
        self.by_stem: dict[str, list[Path]] = defaultdict(list)
        for image in images:
            self.by_path[composed(self._relative(image).as_posix())] = image
            self.by_name[_key(image.name)].append(image)
            self.by_stem[_key(image.stem)].append(image)

    def find(self, cell: str, table: Path, split: str | None, where: str) -> Path:
        r"""Return the image that a cell names.

        Args:
            cell: a path from the table's folder or from the root, a file name, or one without
                suffix; '/' or '\' separates folders.
            table: the file that the cell stands in.
            split: split of the table, if it has one; of images of one name, that in a folder of
                this split is taken, or else that which is in no test folder.
            where: the row, for messages.

        Raises:
            DataError: there is no such image, or there are several.
        """
        found = self.candidates(cell, table)
        if not found:
            raise DataError(
                f"{where}: no image {shown(cell)} in {shown(self.root)}; add it, or remove the row"
            )
        single = found if len(found) == 1 else self._of_split(found, split)
        if len(single) != 1:
            names = " or ".join(shown(self._relative(image)) for image in (single or found)[:2])
            raise DataError(f"{where}: {shown(cell)} may be {names}; write the path")
        return single[0]

    def candidates(self, cell: str, table: Path) -> Sequence[Path]:
        """Return all images that a cell may name."""
        name = cell.replace("\\", "/").removeprefix("./")
        for path in ((self._relative(table).parent / name).as_posix(), name):
            if path in self.by_path:
                return (self.by_path[path],)
        key = _key(name.rpartition("/")[2])
        return self.by_name.get(key) or self.by_stem.get(key) or ()

    def split_of(self, image: Path) -> str | None:
        """Return the split of the folders around an image, or None."""
        return split_around(self._relative(image))

    def _of_split(self, images: Sequence[Path], split: str | None) -> list[Path]:
        if split:
            return [image for image in images if self.split_of(image) == split]
        return [image for image in images if self.split_of(image) != "test"]

    def _relative(self, path: Path) -> Path:
        return path.relative_to(self.root)


def _key(name: str) -> str:
    return composed(name).casefold()
