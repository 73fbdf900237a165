"""Small folders of images for tests: each image is all of one grey, which tells it from others."""

from pathlib import Path

import pytest
from PIL import Image

from pipeline.data.folders import read_image_folder
from pipeline.harness.errors import DataError


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
        read_image_folder(folder, 4)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{folder}/", "").replace(str(folder), "root")


def spoil(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.write_bytes(path.read_bytes()[:45])
