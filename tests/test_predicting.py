"""`aso-se predict` decodes images as training does, without the rest of the project."""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from typer.main import get_group

from pipeline import predicting
from pipeline.__main__ import app
from pipeline.__main__ import main as aso_se
from pipeline.exporting.onnx_file import ModelFacts, export_onnx
from pipeline.harness.errors import DataError
from pipeline.photos import decoding
from pipeline.predicting import ModelError, find_images, open_model, predict
from pipeline.prepared.facts import RESAMPLING, Fit
from tests.photos.test_decoding import FILES, MODES, PICTURE, TURNED

pytestmark = pytest.mark.xdist_group("exporting")
ROOT = Path(__file__).resolve().parents[1]
FACTS = ModelFacts(
    classes=("red", "green", "blue"),
    height=8,
    width=8,
    channels=3,
    mean=(0.5, 0.5, 0.5),
    std=(0.1, 0.1, 0.1),
    genotype={},
    digests={},
)
ALONE = """\
import runpy, sys
sys.path[:0] = [{packages!r}]
sys.argv[1:] = {arguments!r}
runpy.run_path({program!r}, run_name="__main__")
"""


class Colour(nn.Module):
    """A classifier of colours, whose probabilities follow the amount of each colour."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    path.write_bytes(export_onnx(Colour().eval(), FACTS))
    return path


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with a red photograph in a folder and a blue one deeper."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos/more").mkdir(parents=True)
    Image.new("RGB", (20, 30), (200, 10, 10)).save("photos/red.png")
    Image.new("RGB", (30, 20), (0, 0, 220)).save("photos/more/blue.jpg")
    Path("photos/.DS_Store").write_text("hidden")
    return tmp_path


def decode_both(path: Path, size: int, fit: Fit = "crop") -> list[NDArray[np.uint8] | str]:
    """Return the pixels or the error of training's decoder and of this one."""
    found: list[NDArray[np.uint8] | str] = []
    for module, error in ((decoding, DataError), (predicting, ValueError)):
        try:
            found.append(module.read_image(path, size, fit))
        except error as refused:
            reason = str(refused).removeprefix(f"{path}: ")
            found.append(reason.removesuffix("; repair or remove it"))
    return found


@pytest.mark.parametrize("kind", MODES)
def test_every_kind_of_image_is_decoded_as_for_training(kind: str, tmp_path: Path) -> None:
    image, suffix, _ = MODES[kind]
    path = tmp_path / f"image.{suffix}"
    image.save(path)
    for size, fit in product((5, 8, 40), get_args(Fit)):
        one, other = decode_both(path, size, fit)
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_turned_photograph_is_decoded_as_for_training(
    suffix: str, orientation: int, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"image.{suffix}"
    PICTURE.resize((500, 411)).save(path, exif=exif)
    one, other = decode_both(path, 32)
    assert not isinstance(one, str)
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("content", [*FILES, b"", b"hello", FILES[0][:90], FILES[1][:300]])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_damaged_file_is_refused_with_the_words_of_training(
    content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "image"
    for damaged in (content, content[:-40] + b"?" * 40, content.replace(b"\0", b"\1")):
        path.write_bytes(damaged)
        one, other = decode_both(path, 8)
        np.testing.assert_array_equal(one, other)


def test_what_is_read_and_how_is_said_alike_in_both() -> None:
    for name in ("FORMATS", "UNREADABLE", "BRANDS", "REMEDIES"):
        assert getattr(predicting, name) == getattr(decoding, name)
    assert Image.Resampling[RESAMPLING] == predicting.RESAMPLING


def test_files_folders_and_patterns_are_found_once_and_sorted(photos: Path) -> None:
    def found(*names: str) -> list[str]:
        return [str(path) for path in find_images(names)]

    assert found("photos") == ["photos/more/blue.jpg", "photos/red.png"]
    assert found("photos/*.png", "photos/more/blue.jpg") == [
        "photos/red.png",
        "photos/more/blue.jpg",
    ]
    assert found("**/*.jpg") == ["photos/more/blue.jpg"]
    assert found(f"{photos}/photos/r*") == [f"{photos}/photos/red.png"]
    Path("a[1].png").write_bytes(b"")
    assert found("a[1].png") == ["a[1].png"]


def test_the_likeliest_classes_come_first_with_their_probabilities(
    model: Path, photos: Path
) -> None:
    opened = open_model(model)
    (blue, red) = predict(opened, find_images(["photos"]), top=2)
    assert red.classes[0][0] == "red"
    pixels = torch.tensor([200.0, 10.0, 10.0]) / 255
    expected = ((pixels - 0.5) / 0.1).softmax(0)
    assert red.classes[0][1] == pytest.approx(float(expected[0]), abs=1e-6)
    assert (len(red.classes), blue.classes[0][0]) == (2, "blue")


def test_a_model_of_any_size_predicts_what_that_of_one_size_does(model: Path, photos: Path) -> None:
    """Files are decoded and resized as for training, whether or not the model could do it too."""
    path = photos / "any.onnx"
    path.write_bytes(export_onnx(Colour().eval(), replace(FACTS, any_size=True)))
    found, expected = (
        list(predict(open_model(one), [photos / "photos"], top=3)) for one in (path, model)
    )
    assert found == expected


def test_a_model_that_was_trained_on_padded_photos_sees_all_of_a_photo(photos: Path) -> None:
    path, wide = Path("padded.onnx"), Image.new("RGB", (90, 30), (200, 0, 0))
    wide.paste((0, 0, 200), (30, 0, 60, 30))
    wide.save("wide.png")
    named = {}
    for fit in get_args(Fit):
        path.write_bytes(export_onnx(Colour().eval(), replace(FACTS, fit=fit)))
        [found] = predict(open_model(path), [Path("wide.png")], top=1)
        named[fit] = found.classes[0][0]
    assert named == {"crop": "blue", "pad": "red"}


def test_a_table_is_printed_and_a_bad_file_is_one_line_beside_it(
    model: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("photos/notes.txt").write_text("no image")
    code = predicting.show(model, ["photos", "gone.png"], top=1, as_json=False)
    printed = capsys.readouterr()
    formats = ", ".join(decoding.formats())
    assert code == 1
    assert printed.out.splitlines() == [
        "image                 class  probability",
        "photos/more/blue.jpg  blue        100.0%",
        "photos/red.png        red          99.9%",
    ]
    assert printed.err.splitlines() == [
        f"photos/notes.txt: not a readable image (its format is none of {formats})",
        "gone.png: no such file",
    ]


def test_json_is_one_document_with_the_bad_files_in_it(
    model: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predicting.show(model, ["photos/red.png", "gone.png"], top=9, as_json=True) == 1
    document = json.loads(capsys.readouterr().out)
    good, bad = document["images"]
    assert good["classes"][0]["name"] == "red"
    assert sum(entry["probability"] for entry in good["classes"]) == pytest.approx(1)
    assert bad == {"image": "gone.png", "error": "no such file"}


@pytest.fixture
def calibrated(photos: Path) -> Path:
    """Return a model that is unsure of the red photograph, and sure of the blue one."""
    path = photos / "calibrated.onnx"
    facts = replace(FACTS, temperature=4.0, unsure_below=0.78)
    path.write_bytes(export_onnx(Colour().eval(), facts))
    return path


def test_what_may_be_none_of_the_classes_is_called_unsure_once(
    calibrated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predicting.show(calibrated, ["photos"], top=2, as_json=False) == 0
    assert capsys.readouterr().out.splitlines() == [
        "image                 class  probability",
        "photos/more/blue.jpg  blue         81.2%",
        "                      red           9.4%",
        "photos/red.png        red          76.3%  unsure",
        "                      green        11.8%",
    ]


def test_json_says_whether_a_prediction_is_unsure_if_the_model_can_tell(
    model: Path, calibrated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for path in (calibrated, model):
        assert predicting.show(path, ["photos"], top=1, as_json=True) == 0
        found.append([one.get("unsure") for one in json.loads(capsys.readouterr().out)["images"]])
    assert found == [[False, True], [None, None]]


def test_a_model_that_was_exported_before_there_were_calibrations_is_read(
    model: Path, photos: Path
) -> None:
    import onnx  # noqa: PLC0415

    older = onnx.load(model)
    kept = [one for one in older.metadata_props if one.key != "calibration"]
    del older.metadata_props[:]
    older.metadata_props.extend(kept)
    (photos / "older.onnx").write_bytes(older.SerializeToString())
    [found] = predict(open_model(photos / "older.onnx"), [Path("photos/red.png")], top=1)
    assert (found.classes[0][0], found.unsure) == ("red", None)


def test_a_grey_model_takes_coloured_images(photos: Path) -> None:
    facts = replace(FACTS, classes=("one",), channels=1, mean=(0.5,), std=(0.1,))
    Path("grey.onnx").write_bytes(export_onnx(Colour().eval(), facts))
    opened = open_model(Path("grey.onnx"))
    (found,) = predict(opened, [Path("photos/red.png")], top=3)
    assert found.classes == (("one", 1.0),)


def test_an_image_of_the_model_s_size_keeps_its_levels_of_grey(tmp_path: Path) -> None:
    """A grey image goes through RGB and comes back as it was."""
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(levels).save(tmp_path / "levels.png")
    grey = Image.fromarray(predicting.read_image(tmp_path / "levels.png", 16)).convert("L")
    np.testing.assert_array_equal(np.asarray(grey), levels)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "not an ONNX model"),
        (b"hello", "not an ONNX model"),
    ],
)
def test_what_is_no_model_is_refused_in_one_line(
    content: bytes | None, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError) as refused:
        open_model(path)
    assert str(refused.value) == f"{path}: {reason}"


def test_a_model_of_others_or_of_another_format_is_refused(model: Path, tmp_path: Path) -> None:
    import onnx  # noqa: PLC0415

    path = tmp_path / "model.onnx"
    foreign = onnx.load(model)
    for entry in foreign.metadata_props:
        if entry.key == "format":
            entry.value = "2"
    path.write_bytes(foreign.SerializeToString())
    with pytest.raises(ModelError, match="format 2, this program reads 1"):
        open_model(path)
    for entry in foreign.metadata_props:
        if entry.key == "format":
            entry.value = "1"
        if entry.key == "input":
            entry.value = json.dumps({**json.loads(entry.value), "fit": "stretch"})
    path.write_bytes(foreign.SerializeToString())
    with pytest.raises(ModelError, match="images are fitted by 'stretch', unknown here"):
        open_model(path)
    del foreign.metadata_props[:]
    path.write_bytes(foreign.SerializeToString())
    with pytest.raises(ModelError, match="no classes and image size in its metadata"):
        open_model(path)


def test_it_works_when_copied_out_of_the_project_with_three_packages(
    model: Path, photos: Path
) -> None:
    packages = photos / "packages"
    packages.mkdir()
    site = Path(str(find_spec("onnxruntime").origin)).parents[1]  # type: ignore[union-attr]
    for name in ("onnxruntime", "numpy", "PIL"):
        for path in site.glob(f"{name}*"):
            (packages / path.name).symlink_to(path)
    for path in site.glob("pillow*"):
        (packages / path.name).symlink_to(path)
    program = photos / "copied.py"
    shutil.copy(predicting.__file__, program)
    done = run_alone(packages, program, [str(model), "photos/red.png", "--top", "1"])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].split() == ["photos/red.png", "red", "99.9%"]


def run_alone(
    packages: Path, program: Path, arguments: Sequence[str]
) -> subprocess.CompletedProcess[str]:
    """Run a program that sees these packages and the standard library only."""
    script = ALONE.format(packages=str(packages), program=str(program), arguments=list(arguments))
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", script],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "words",
    [
        ["photos/red.png"],
        ["photos", "photos/*.png", "gone.png"],
        ["photos", "--top", "1"],
        ["--json", "photos"],
    ],
)
def test_the_command_does_the_same_in_the_project_and_alone(
    words: list[str],
    model: Path,
    photos: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["predicting.py", str(model), *words])
    code = predicting.main()
    alone = capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["aso-se", "predict", str(model), *words])
    with pytest.raises(SystemExit) as ended:
        aso_se()
    assert (ended.value.code, capsys.readouterr()) == (code, alone)


def test_the_help_explains_the_same_arguments_in_the_project_and_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["predicting.py", "--help"])
    with pytest.raises(SystemExit):
        predicting.main()
    alone = " ".join(capsys.readouterr().out.split())
    parameters = get_group(app).commands["predict"].params
    options = {name for one in parameters for name in one.opts if name.startswith("--")}
    assert set(re.findall(r"--\w+", alone)) == {*options, "--help"}
    assert [one.help for one in parameters if one.help not in alone] == []


@contextmanager
def no_more_open_files() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    os.close(free := os.open(os.devnull, os.O_RDONLY))
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_lack_of_open_files_is_no_fault_of_the_model_or_the_image(
    model: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened, image = open_model(model), photos / "photos/red.png"
    with no_more_open_files():
        code = predicting.show(model, [str(image)], top=1, as_json=False)
        with pytest.raises(OSError, match="Too many open files"):
            list(predict(opened, [image], top=1))
    assert (code, capsys.readouterr().err) == (4, f"{model}: Too many open files\n")


def test_a_number_of_classes_below_one_is_a_wrong_command_line(model: Path) -> None:
    assert predicting.show(model, [], top=0, as_json=False) == 2
