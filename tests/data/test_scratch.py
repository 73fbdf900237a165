"""Decoding goes on where a killed run was, holds few pixels at once, and gives the same bytes."""

import os
import signal
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.batches.images import read_images
from pipeline.data import folders
from pipeline.data.params import DataParams
from pipeline.data.scratch import Scratch, scratch
from pipeline.harness.errors import DataError
from pipeline.photos.decoding import Limit
from stages import prepare as prepare_stage

ROOT = Path(__file__).resolve().parents[2]
PARAMS = """
seed: 0
data: {name: image_folder, path: images, image_size: 16, stored_size: null, fit: crop,
  unreadable: refuse, validation_fraction: 0.3, test_fraction: 0.2, duplicates: keep}
"""
KILLED = """
import os, runpy, signal, sys
from pipeline.data import folders
from pipeline.photos import decoding
def read(path, size, fit, done=[]):
    done.append(path)
    if len(done) == {after}:
        os.kill(os.getpid(), signal.SIGKILL)
    return decoding.read_image(path, size, fit)
folders.read_image = read
runpy.run_module("stages.prepare", run_name="__main__", alter_sys=True)
print(len(read.__defaults__[0]))
"""


def level(number: int) -> NDArray[np.uint8]:
    if number == 3:
        raise DataError("image 3: damaged")
    return np.full((2, 2, 3), number, np.uint8)


def test_images_are_at_their_places_and_errors_have_their_numbers(tmp_path: Path) -> None:
    images, problems = Scratch(tmp_path).fill("images", (6, 2, 2, 3), level)
    assert problems == {3: "image 3: damaged"}
    assert images[[0, 1, 2, 4, 5], 1, 1, 2].tolist() == [0, 1, 2, 4, 5]


def test_what_is_decoded_is_not_decoded_again_but_what_is_damaged_is(tmp_path: Path) -> None:
    Scratch(tmp_path).fill("images", (6, 2, 2, 3), level)
    with (tmp_path / "images").open("r+b") as file:
        file.seek(2 * 2 * 3 * 4)
        file.write(b"\xff")
    again = []

    def count(number: int) -> NDArray[np.uint8]:
        again.append(number)
        return level(number)

    images, _ = Scratch(tmp_path).fill("images", (6, 2, 2, 3), count)
    assert sorted(again) == [3, 4]
    assert images[4].min() == images[4].max() == 4


def write_images(folder: Path, count: int) -> None:
    for name in "ab":
        (folder / "images" / name).mkdir(parents=True)
        for number in range(count):
            image = Image.new("RGB", (20, 20), (number, ord(name), 0))
            image.save(folder / "images" / name / f"{number:03}.png")
    (folder / "params.yaml").write_text(PARAMS)


def prepare(folder: Path, after: int) -> subprocess.CompletedProcess[str]:
    """Run the stage, which is killed at that image."""
    return subprocess.run(
        [sys.executable, "-c", KILLED.format(after=after), "out"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_killed_run_goes_on_and_ends_in_the_same_bytes(tmp_path: Path) -> None:
    for name in ("killed", "whole"):
        write_images(tmp_path / name, 30)
    assert prepare(tmp_path / "killed", 45).returncode == -signal.SIGKILL
    resumed, whole = prepare(tmp_path / "killed", -1), prepare(tmp_path / "whole", -1)
    assert int(whole.stdout.splitlines()[-1]) == 60
    assert int(resumed.stdout.splitlines()[-1]) < 30
    files = sorted(path.name for path in (tmp_path / "whole/out").iterdir())
    assert files == ["dataset.json", "images.safetensors", "names.json"]
    for name in files:
        written = (tmp_path / "killed/out" / name).read_bytes()
        assert written == (tmp_path / "whole/out" / name).read_bytes()
    assert not list((tmp_path / "killed/.aso-se/scratch").iterdir())


def test_large_pictures_wait_for_each_other_and_none_waits_for_ever() -> None:
    limit, together, most = Limit(10), [0], [0]
    lock = threading.Lock()

    def decode(pixels: int) -> None:
        with limit.room(pixels):
            with lock:
                together[0] += min(pixels, 10)
                most[0] = max(most[0], together[0])
            threading.Event().wait(0.002)
            with lock:
                together[0] -= min(pixels, 10)

    threads = [threading.Thread(target=decode, args=(size,)) for size in (6, 3, 25, 4, 10, 1) * 5]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert 0 < most[0] <= 10
    assert limit.taken == 0


def test_images_larger_than_memory_are_prepared_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's own count of its memory: what is mapped from a file is not in it."""
    monkeypatch.chdir(tmp_path)
    for number in range(2_000):
        path = tmp_path / "images" / "ab"[number % 2] / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    monkeypatch.setattr(
        folders, "read_image", lambda path, _size, _fit: noise + np.uint8(int(path.stem) % 250)
    )
    folder = {"name": "image_folder", "path": str(tmp_path / "images")}
    changes = {**folder, "image_size": 128, "duplicates": "keep"}
    params = prepare_stage.Params(seed=0, data=DataParams.model_validate(changes))
    pixels = 2_000 * noise.size

    tracemalloc.start()
    prepare_stage.main(params, tmp_path / "out")
    assert 0 < tracemalloc.get_traced_memory()[1] < 0.6 * pixels
    tracemalloc.reset_peak()
    images = read_images(tmp_path / "out", "train", "cpu", through="test")
    assert tracemalloc.get_traced_memory()[1] < 0.2 * pixels
    tracemalloc.stop()
    assert images.pixels.shape == (2_000, 3, 128, 128)
    assert not list((tmp_path / ".aso-se/scratch").iterdir())


def test_a_refusal_leaves_no_pixels_behind(tmp_path: Path) -> None:
    write_images(tmp_path, 30)
    image = tmp_path / "images/b/007.png"
    image.write_bytes(image.read_bytes()[:60])
    done = prepare(tmp_path, -1)
    assert done.returncode == 1
    assert "images/b/007.png: not a readable image" in done.stderr
    assert not list((tmp_path / ".aso-se/scratch").iterdir())


def of_a_lack() -> DataError:
    """Return an error about an image that could not be read for want of memory."""
    error = DataError("1.png: not a readable image")
    error.__cause__ = MemoryError()
    return error


@pytest.mark.parametrize(
    ("error", "kept"),
    [(DataError("1.png: not a readable image"), False), (of_a_lack(), True), (OSError(), True)],
    ids=["the images are at fault", "there is no memory", "the disk is full"],
)
def test_what_is_decoded_stays_unless_the_images_are_at_fault(
    error: Exception, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pixels = np.ones((2, 2, 3), np.uint8)

    def decode_and_fail() -> None:
        with scratch("facts") as place:
            place.fill("train", (4, *pixels.shape), lambda _: pixels)
            raise error

    with pytest.raises(type(error)):
        decode_and_fail()
    assert len(list((tmp_path / ".aso-se/scratch").glob("*/train"))) == kept


def test_what_other_runs_left_is_removed(tmp_path: Path) -> None:
    write_images(tmp_path, 30)
    assert prepare(tmp_path, 20).returncode == -signal.SIGKILL
    (left,) = (tmp_path / ".aso-se/scratch").iterdir()
    (tmp_path / "params.yaml").write_text(PARAMS.replace("image_size: 16", "image_size: 12"))
    assert prepare(tmp_path, 20).returncode == -signal.SIGKILL
    (other,) = (tmp_path / ".aso-se/scratch").iterdir()
    assert other.name != left.name


def test_two_at_once_in_one_tree_wait_for_each_other(tmp_path: Path) -> None:
    write_images(tmp_path, 60)
    command = [sys.executable, "-m", "stages.prepare"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    both = [
        subprocess.Popen(
            [*command, out], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
        )
        for out in ("one", "other")
    ]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert all("prepare: image_folder, 2 classes" in text for text in said)
    for name in ("dataset.json", "images.safetensors", "names.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
    assert list((tmp_path / ".aso-se/scratch").iterdir()) == []


def test_a_second_one_in_the_tree_says_that_it_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with scratch("one"):
        second = threading.Thread(target=lambda: scratch("other").__enter__())
        second.start()
        second.join(0.2)
        assert second.is_alive()
    second.join(30)
    assert not second.is_alive()
    assert capsys.readouterr().out == "prepare: waits for another one in this tree\n"
