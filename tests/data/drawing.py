"""Small folders of images for tests: each image is all of one grey, which tells it from others."""

from pathlib import Path
from tempfile import gettempdir
from uuid import uuid4

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

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
            place.remove()


def read_folder(folder: Path, size: int, **changes: object) -> Source:
    plain = {"name": "image_folder", "path": str(folder), "image_size": size}
    return read(DataParams.model_validate({**plain, **changes}))


def pixels(labelled: Labelled) -> NDArray[np.uint8]:
    """Return all images in order, (N, H, W, C)."""
    return np.concatenate(list(labelled.chunks()))
