"""Parquet files of images, as of Hugging Face, written out as one image file a row.

A column of them is a struct of `bytes`, an encoded image, and `path`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from pipeline.console.progress import say
from pipeline.data.archives import CHUNK_BYTES, written_out
from pipeline.data.columns import label_column
from pipeline.data.layout import Layout
from pipeline.data.listing import Folder, composed, named_as_images, of_kind, skipped, walk
from pipeline.data.rows import Row, lay_out
from pipeline.data.split_folders import split_around, split_in
from pipeline.harness.errors import DataError
from pipeline.harness.showing import shown

KIND = ".parquet"
ROWS = 64
"""Number of rows that are decoded at once; the row group that they are in is in memory too."""
UNLABELLED = (None, -1)
"""Labels of a test split whose answers are kept back (Hugging Face)."""


def read_parquet(tree: Folder, root: Path, out: Path) -> Layout | None:
    """Write out the images of all parquet files in a folder; None if there are none, or images too.

    Args:
        tree: the folder.
        root: folder around it, or itself; the names of images start from there.
        out: new folder, which stands for `root`.

    Raises:
        DataError: pyarrow is missing, or a file is damaged or of unclear meaning.
        OSError: the disk is full.
    """
    files = [path for folder in walk(tree) for path in of_kind(folder, {KIND})]
    if not files or any(map(named_as_images, walk(tree))):
        return None
    say(f"unpacking the images of {len(files):,} parquet file{'s' if len(files) > 1 else ''}")
    where = files[0] if len(files) == 1 else tree.path
    splits = {file: _split(file, tree.path) for file in files}
    if None in splits.values() and set(splits.values()) != {None}:
        file = next(file for file, split in splits.items() if split is None)
        raise DataError(
            f"{shown(file)}: of no split, unlike other files; call it train-, validation- or"
            " test-..., or remove it"
        )
    _require_one_data_set(splits)
    rows, unlabelled = [], dict[str, int]()
    for file in files:
        split = splits[file] or "train"
        for image, label, row in _images(file, out / file.relative_to(root)):
            if label is None:
                unlabelled[split] = unlabelled.get(split, 0) + 1
            else:
                rows.append(Row(image=image, label=label, split=split, where=row))
    _require_all_or_none(rows, unlabelled, where)
    outside = [file for folder in walk(tree) for file in folder.files]
    notes = (
        *(
            f"{shown(where)}: {split} images not read, as they have no labels"
            for split in unlabelled
        ),
        *skipped(tree, outside, files),
    )
    return lay_out(rows, table=where, root=out, notes=notes)


def _split(file: Path, root: Path) -> str | None:
    return split_in(file.stem) or split_around(file.relative_to(root))


def _require_one_data_set(splits: Mapping[Path, str | None]) -> None:
    """Raise DataError if files of a split lie in two folders, or name their labels differently."""
    folders: dict[str | None, Path] = {}
    for file, split in splits.items():
        first = folders.setdefault(split, file)
        if first.parent != file.parent:
            raise DataError(
                f"{shown(file)}: of the same split as {shown(first)}, in another folder; set"
                " data.path to one of the folders, or move the files into one"
            )
    first, *others = splits
    for file in others:
        if _label_names(file) != _label_names(first):
            raise DataError(
                f"{shown(file)}: other names of labels than in {shown(first)}; write both with the"
                " same names, or remove one"
            )


def _label_names(file: Path) -> Sequence[str]:
    with written_out(file, "a readable parquet file"):
        return _columns(_open(file).schema_arrow, shown(file))[2]


def _images(file: Path, folder: Path) -> Iterator[tuple[Path, str | None, str]]:
    """Write each image into a folder; yield its path, label and where it stands.

    Rows count from 0, as they do in pyarrow, pandas and datasets.
    """
    folder.mkdir(parents=True)
    with written_out(file, "a readable parquet file"):
        content = _open(file)
        image, label, names = _columns(content.schema_arrow, shown(file))
        for row, (value, of) in enumerate(_cells(content, image, label)):
            where = f"{shown(file)}, row {row}"
            if value is None or value["bytes"] is None:
                raise DataError(f"{where}: no image in it, only the path of one elsewhere")
            path, name = folder / f"row {row}", _name(of, names, where)
            if name is not None:
                path.write_bytes(value["bytes"])
            yield path, name, where


def _cells(content: Any, *columns: str) -> Iterator[tuple[Any, ...]]:
    """Yield the cells of each row, with no more than a row group in memory."""
    for group in range(content.num_row_groups):
        for batch in content.iter_batches(
            ROWS, row_groups=[group], columns=columns, use_threads=False
        ):
            yield from zip(*(batch.column(name).to_pylist() for name in columns), strict=True)


def _open(file: Path) -> Any:
    try:
        reader = import_module("pyarrow.parquet").ParquetFile
    except ImportError:
        raise DataError(f"{shown(file)}: a parquet file; to read it, install pyarrow") from None
    # Buffering ahead takes a quarter more memory for each row group.
    return reader(file, pre_buffer=False, buffer_size=CHUNK_BYTES)


def _columns(schema: Any, where: str) -> tuple[str, str, Sequence[str]]:
    """Return the columns of the images and of the labels, and the names of labels 0, 1, ..."""
    images = [one.name for one in schema if "bytes" in _fields(one.type)]
    if len(images) != 1:
        raise DataError(
            f"{where}: {len(images)} columns of images (structs of bytes and path), expected one;"
            f" it has {', '.join(map(shown, schema.names))}"
        )
    features = _features(schema)
    others = [name for name in schema.names if name not in images]
    known = [name for name in others if "names" in features.get(name, {})]
    if len(known) != 1:
        index = label_column(others, where)
        if index is None:
            raise DataError(f"{where}: no column of labels")
        known = [others[index]]
    (label,) = known
    kind = str(schema.field(label).type)
    if "int" not in kind and "string" not in kind:
        raise DataError(f"{where}: {shown(label)} is of {kind}; labels are integers or texts")
    return images[0], label, features.get(label, {}).get("names", ())


def _fields(kind: Any) -> set[str]:
    return {kind.field(index).name for index in range(kind.num_fields)}


def _features(schema: Any) -> Mapping[str, Any]:
    """Return what Hugging Face's datasets wrote into the file about its columns."""
    text = (schema.metadata or {}).get(b"huggingface", b"{}")
    found: Mapping[str, Any] = json.loads(text).get("info", {}).get("features", {})
    return found


def _name(label: int | str | None, names: Sequence[str], where: str) -> str | None:
    """Return the name of a label; None if there is no label."""
    if label in UNLABELLED:
        return None
    if isinstance(label, int) and names:
        if not 0 <= label < len(names):
            raise DataError(f"{where}: the label {label}, but names of 0 to {len(names) - 1}")
        label = names[label]
    name = composed(str(label).strip())
    if not name:
        raise DataError(f"{where}: no label; add it, or remove the row")
    return name


def _require_all_or_none(rows: Sequence[Row], unlabelled: Mapping[str, int], where: Path) -> None:
    for split, count in unlabelled.items():
        if split == "train" or any(row.split == split for row in rows):
            raise DataError(
                f"{shown(where)}: {count:,} {split} images without a label; remove these rows"
            )
