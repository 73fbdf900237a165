"""`aso-se publish`: the exported model as the folder of a model repository of Hugging Face."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.console.progress import say
from pipeline.harness.errors import RunError
from pipeline.harness.files import write_atomically
from pipeline.harness.showing import shown

EXPORT, REPORT = Path("artifacts/export"), Path("artifacts/report")
PICTURE = "cells.png"
"""Picture of the cells, which the report draws."""
PROGRAM = Path(__file__).parents[1] / "predicting.py"
"""The program that predicts with a model and needs nothing of the project."""
UNLICENSED = "license: other\nlicense_name: depends-on-the-training-images\n"
"""Lines of a card that says no licence."""
LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]*")
"""Short name of a licence, as Hugging Face lists them: mit, apache-2.0, cc-by-4.0."""


def publish(tree: Path, folder: Path, licence: str | None) -> int:
    """Write the folder and say which command uploads it; return 0.

    No image of the data set is in it: the golden images are noise.

    folder: missing or empty. licence: short name of the model's licence; None leaves the card's
    "other".

    Raises:
        RunError: nothing is exported, export and report are of different models, the folder holds
            something, or the name is none of a licence.
    """
    if licence is not None and not LICENCE.fullmatch(licence):
        raise RunError(f"--license {shown(licence)}: expected a short name, such as apache-2.0")
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise RunError(f"{shown(folder)}: exists and is not empty; name a new folder")
    contents = dict(_contents(tree, licence))
    for name, content in contents.items():
        write_atomically(folder / name, content)
    say(f"publish: {folder}: {len(contents)} files")
    if licence is None:
        say("publish: the card names no licence of the model; --license NAME does")
    upload = f"hf upload USER/NAME {shlex.quote(str(folder))} ."
    say(f"publish: {upload}  # 'pip install huggingface_hub' has hf")
    return 0


def _contents(tree: Path, licence: str | None) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each file."""
    export = tree / EXPORT
    card, facts = _read(tree, EXPORT / "model_card.md"), _read(tree, EXPORT / "model.json")
    described = json.loads(facts)
    picture = _read(tree, REPORT / PICTURE)
    digest = described["digests"]["model.safetensors"]
    if digest not in _read(tree, REPORT / "report.html").decode():
        raise RunError(f"{REPORT} and {EXPORT} are of different models; 'aso-se run' renews them")
    yield "README.md", _page(card.decode(), described["input"], licence).encode()
    yield PICTURE, picture
    yield "predicting.py", PROGRAM.read_bytes()
    yield "model.onnx", _read(tree, EXPORT / "model.onnx")
    yield "model.json", facts
    smaller = export.glob("variants/*") if any(export.glob("variants/*.onnx")) else ()
    for path in sorted([*export.glob("test_data_set_0/*"), *smaller]):
        yield path.relative_to(export).as_posix(), path.read_bytes()


def _read(tree: Path, path: Path) -> bytes:
    try:
        return (tree / path).read_bytes()
    except FileNotFoundError:
        raise RunError(f"{path}: no such file; 'aso-se run' makes it") from None


def _page(card: str, image: Mapping[str, Any], licence: str | None) -> str:
    """Return the card with its licence, its picture and what becomes of an image."""
    if licence is not None:
        card = card.replace(UNLICENSED, f"license: {licence}\n", 1)
    steps = f"## How an image becomes pixels\n\n{_steps(image)}\n## Metrics\n"
    card = card.replace("## Metrics\n", steps, 1)
    shown_cells = f"## Architecture\n\n![The cells that were found]({PICTURE})\n"
    return card.replace("## Architecture\n", shown_cells, 1)


def _steps(image: Mapping[str, Any]) -> str:
    """Return what a program does with an image before it calls the model, in Markdown.

    image: `input` of model.json.
    """
    size = f"{image['width']} x {image['height']}"
    if image["any_size"]:
        scaled = f"Pass it in any size: the model makes it {size} itself."
    elif image.get("fit", "crop") == "crop":
        scaled = f"Scale it, with antialiasing (bicubic), to cover {size}; crop it at the centre."
    else:
        scaled = f"Scale it, with antialiasing (bicubic), to fit into {size}; the rest is black."
    colours = "grey" if image["channels"] == 1 else "red, green and blue"
    return (
        "1. Turn it as its EXIF orientation says.\n"
        "2. Scale 16 bits to 8, and lay transparency on white.\n"
        f"3. {scaled}\n"
        f"4. Make it {colours}; pass the levels, 0 to 255, as uint8.\n"
        "\n"
        "`python predicting.py model.onnx IMAGE...` does all this; it needs onnxruntime, numpy and"
        " pillow.\n"
    )
