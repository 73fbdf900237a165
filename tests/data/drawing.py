"""Small folders of images for tests: each image is all of one grey, which tells it from others."""

import json
import shutil
import tarfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from tempfile import gettempdir
from uuid import uuid4
from zipfile import ZipFile

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from PIL import Image
from pyarrow.parquet import write_table

from pipeline.data.params import DataParams
from pipeline.data.scratch import Scratch
from pipeline.data.source import Source
from pipeline.data.sources import read_source
from pipeline.harness.errors import DataError
from pipeline.prepared.labelled import Labelled


def draw(folder: Path, *names: str) -> Path:
    """Write an image at each path in the folder, each of another grey; other files get a text."""
    for level, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() in {".png", ".jpg", ".jpeg"}:
            Image.new("RGB", (6, 5), (level, level, level)).save(path, "PNG")
        else:
            path.write_text("no image")
    return folder


def many(split: str, *classes: str, count: int = 10) -> list[str]:
    """Return the names of the images of a split."""
    return [f"{split}/{name}/{index}.png" for name in classes for index in range(count)]


def refusal(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_folder(folder, 4)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{folder}/", "").replace(str(folder), "root")


def spoil(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.write_bytes(path.read_bytes()[:45])


def read(params: DataParams) -> Source:
    """Read a data set as `prepare` does."""
    place = Scratch(Path(gettempdir(), f"aso-se-{uuid4()}"))
    try:
        return read_source(params, place)
    finally:
        if place.folder.exists():  # what is mapped from a file outlives its name
            shutil.rmtree(place.folder)


def read_folder(folder: Path, size: int, **changes: object) -> Source:
    plain = {"name": "image_folder", "path": str(folder), "image_size": size}
    return read(DataParams.model_validate({**plain, **changes}))


def pixels(labelled: Labelled) -> NDArray[np.uint8]:
    """Return all images in order, (N, H, W, C)."""
    return np.concatenate(list(labelled.chunks()))


def pack(folder: Path, archive: Path) -> Path:
    """Write an archive of all that lies in a folder; its suffix says which."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    if archive.suffix == ".zip":
        with ZipFile(archive, "w") as packed:
            for file in files:
                packed.write(file, file.relative_to(folder))
    else:
        kind = {"gz": "gz", "tgz": "gz", "xz": "xz", "bz2": "bz2"}.get(archive.suffix[1:], "")
        with tarfile.open(archive, f"w:{kind}") as packed_tar:
            for file in files:
                packed_tar.add(file, file.relative_to(folder))
    return archive


def write_parquet(
    path: Path, labels: Sequence[int | str | None], *, names: Sequence[str] = (), first: int = 0
) -> Path:
    """Write a file as of Hugging Face: an image a label, each of another grey from `first` on."""
    images = []
    for level in range(first, first + len(labels)):
        content = BytesIO()
        Image.new("RGB", (6, 5), (level, level, level)).save(content, "PNG")
        images.append({"bytes": content.getvalue(), "path": f"{level}.png"})
    table = pa.table({"image": images, "label": labels})
    if names:
        features = {"label": {"names": list(names), "_type": "ClassLabel"}}
        text = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": text})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(table, path, row_group_size=3)
    return path
