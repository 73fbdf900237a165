"""Which columns of a table name the image, its label and its split, by the names of the columns."""

from collections.abc import Collection, Sequence

from pipeline.harness.errors import DataError
from pipeline.harness.showing import shown

OF_FILES = (
    "file file_name file_path filename filepath image image_file image_name image_path img"
    " img_name img_path path photo picture"
)
OF_LABELS = "breed category category_name class class_name classes classname genus label label_name"

FILES = frozenset(f"{name}{end}" for name in OF_FILES.split() for end in ("", "s"))
"""Names of columns that name image files."""
IDS = frozenset({"id", "image_id", "img_id"})
"""Names of columns that name image files where no column of `FILES` is."""
LABELS = frozenset(f"{OF_LABELS} labels species target".split())
"""Names of columns that hold the labels; without them, the only column of another name does."""
SPLITS = frozenset({"data_set", "dataset", "set", "split", "subset"})
"""Names of columns that say which split an image belongs to."""
INDICES = frozenset({"", "index", "unnamed:_0"})
"""Names of columns that number the rows."""


def plain(name: str) -> str:
    """Return the name of a column as the sets above have it."""
    return "_".join(name.strip().casefold().replace("-", " ").split())


def image_column(names: Sequence[str], where: str) -> int | None:
    """Return the index of the column that names the images, or None.

    Raises:
        DataError: several may. where: the table, for the message.
    """
    for known in (FILES, IDS):
        found = _named(names, known)
        if len(found) > 1:
            raise DataError(f"{where}: {_listed(names, found)} may all name the images; keep one")
        if found:
            return found[0]
    return None


def split_column(names: Sequence[str]) -> int | None:
    """Return the index of the column that says the split, or None."""
    found = _named(names, SPLITS)
    return found[0] if len(found) == 1 else None


def is_named_label(names: Sequence[str]) -> bool:
    """Whether a column has the name of a label."""
    return bool(_named(names, LABELS))


def label_column(names: Sequence[str], where: str) -> int | None:
    """Return the index of the column that holds the labels, or None if there is no candidate.

    Raises:
        DataError: several may. where: the table, for the message.
    """
    found = label_columns(names)
    if len(found) > 1:
        raise DataError(
            f"{where}: {_listed(names, found)} may all hold the labels; keep one, or call it label"
        )
    return found[0] if found else None


def label_columns(names: Sequence[str]) -> list[int]:
    """Return the indices of all columns that may hold the labels."""
    return _named(names, LABELS) or other_columns(names)


def other_columns(names: Sequence[str]) -> list[int]:
    """Return the indices of the columns whose names say nothing about what they hold."""
    known = FILES | IDS | LABELS | SPLITS | INDICES
    return [index for index, name in enumerate(names) if plain(name) not in known]


def _named(names: Sequence[str], known: Collection[str]) -> list[int]:
    return [index for index, name in enumerate(names) if plain(name) in known]


def _listed(names: Sequence[str], indices: Sequence[int]) -> str:
    return "the columns " + ", ".join(shown(names[index]) for index in indices)
