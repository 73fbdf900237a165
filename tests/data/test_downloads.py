"""torchvision's data sets, from tiny files in the official formats; nothing is downloaded here.

CIFAR consists of pickles; torchvision opens one only after it has verified the checksum.
"""

import gzip
import hashlib
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import savemat
from torchvision import datasets

from pipeline.data.downloads import read_download
from pipeline.data.params import DataParams
from pipeline.data.source import Source
from pipeline.harness.errors import DataError
from tests.data.drawing import read

GENERATOR = np.random.default_rng(0)


def pixels(*shape: int) -> NDArray[np.uint8]:
    return GENERATOR.integers(0, 256, shape, dtype=np.uint8)


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def write(path: Path, content: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return md5(content)


def write_cifar(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[datasets.CIFAR10],
    labels: str,
    names: str,
) -> NDArray[np.uint8]:
    """Write the pickles of a CIFAR, two images in each; return the training images (N, C, H, W)."""
    base = folder / kind.base_folder
    files = {name: pixels(2, 3, 32, 32) for name, _ in (*kind.train_list, *kind.test_list)}
    checksums = {
        name: write(base / name, pickle.dumps({"data": images.reshape(2, -1), labels: [0, 1]}))
        for name, images in files.items()
    }
    meta = write(base / kind.meta["filename"], pickle.dumps({names: ["cat", "dog"]}))
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": meta})
    for listed in ("train_list", "test_list"):
        checked = [[name, checksums[name]] for name, _ in getattr(kind, listed)]
        monkeypatch.setattr(kind, listed, checked)
    return np.concatenate([files[name] for name, _ in kind.train_list])


def require(source: Source, images: NDArray[np.uint8], labels: list[int]) -> None:
    """Require (N, C, H, W) training images and their labels."""
    assert np.array_equal(source.train.images, images.transpose(0, 2, 3, 1))
    assert source.train.labels.tolist() == labels
    assert source.train.labels.dtype == np.int64
    assert source.test is not None
    assert source.test.images.shape[1:] == source.train.images.shape[1:]
    assert not np.array_equal(source.test.images, source.train.images)


def test_cifar10_is_read_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = write_cifar(tmp_path, monkeypatch, datasets.CIFAR10, "labels", "label_names")
    source = read_download("cifar10", tmp_path)
    require(source, images, [0, 1] * 5)
    assert (source.name, source.classes) == ("cifar10", ("cat", "dog"))


def test_cifar100_is_read_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = write_cifar(
        tmp_path, monkeypatch, datasets.CIFAR100, "fine_labels", "fine_label_names"
    )
    source = read_download("cifar100", tmp_path)
    require(source, images, [0, 1])
    assert (source.name, source.classes) == ("cifar100", ("cat", "dog"))


def write_fashion_mnist(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, NDArray[np.uint8]]:
    """Write the four archives; return the images."""
    images = {"train": pixels(3, 28, 28), "t10k": pixels(2, 28, 28)}
    checksums = {}
    for part, values in images.items():
        labels = bytes(range(len(values)))
        header = struct.pack(">IIII", 0x803, len(values), 28, 28)
        for name, content in (
            (f"{part}-images-idx3-ubyte.gz", header + values.tobytes()),
            (f"{part}-labels-idx1-ubyte.gz", struct.pack(">II", 0x801, len(values)) + labels),
        ):
            checksums[name] = write(folder / "FashionMNIST/raw" / name, gzip.compress(content))
    monkeypatch.setattr(datasets.FashionMNIST, "resources", list(checksums.items()))
    monkeypatch.setattr(datasets.FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])
    return images


def test_fashion_mnist_is_unpacked_where_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = write_fashion_mnist(tmp_path, monkeypatch)
    source = read_download("fashion_mnist", tmp_path)
    require(source, images["train"][:, None], [0, 1, 2])
    assert source.classes[9] == "Ankle boot"


def test_svhn_calls_its_tenth_class_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = pixels(3, 3, 32, 32)
    checked = {}
    for part, values in (("train", images), ("test", pixels(2, 3, 32, 32))):
        path = tmp_path / f"{part}_32x32.mat"
        labels = np.array([[10], [1], [2]][: len(values)], np.uint8)
        savemat(path, {"X": values.transpose(2, 3, 1, 0), "y": labels})
        checked[part] = ["http://127.0.0.1:9/", path.name, md5(path.read_bytes())]
    monkeypatch.setattr(datasets.SVHN, "split_list", checked)
    source = read_download("svhn", tmp_path)
    require(source, images, [0, 1, 2])
    assert source.classes == tuple("0123456789")


def test_a_download_is_resized_and_lies_in_downloads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cifar(tmp_path / "downloads", monkeypatch, datasets.CIFAR10, "labels", "label_names")
    params = DataParams(
        name="cifar10",
        path=str(tmp_path),
        image_size=16,
        validation_fraction=0.5,
        test_fraction=0.5,
    )
    source = read(params)
    assert source.test is not None
    assert source.train.images.shape == (10, 16, 16, 3)
    assert source.test.images.shape == (2, 16, 16, 3)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "fashion_mnist", "svhn"])
def test_a_failed_download_is_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = "http://127.0.0.1:9/"  # the discard port: nobody answers
    monkeypatch.setattr(datasets.CIFAR10, "url", nowhere)
    monkeypatch.setattr(datasets.CIFAR100, "url", nowhere)
    monkeypatch.setattr(datasets.FashionMNIST, "mirrors", [nowhere])
    gone = {part: [nowhere, f"{part}_32x32.mat", "0"] for part in ("train", "test")}
    monkeypatch.setattr(datasets.SVHN, "split_list", gone)
    with pytest.raises(DataError) as caught:
        read_download(name, tmp_path)
    line = str(caught.value)
    assert line.startswith(f"{name}: not found intact in {tmp_path}, and not downloaded to it (")
    assert line.endswith("there by hand")
    assert "\n" not in line


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        write(tmp_path / f"FashionMNIST/raw/{name}-ubyte", struct.pack(">IIII", 0x803, 9, 28, 28))
    with pytest.raises(DataError, match="fashion_mnist: not found intact"):
        read_download("fashion_mnist", tmp_path)


def test_fashion_mnist_never_comes_from_an_unpacked_file_that_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = write_fashion_mnist(tmp_path, monkeypatch)
    read_download("fashion_mnist", tmp_path)
    raw = tmp_path / "FashionMNIST/raw"
    unpacked = raw / "train-images-idx3-ubyte"
    content = bytearray(unpacked.read_bytes())
    content[-1] ^= 1
    unpacked.write_bytes(content)
    require(read_download("fashion_mnist", tmp_path), images["train"][:, None], [0, 1, 2])
    unpacked.write_bytes(content)
    (raw / "train-images-idx3-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz: missing or damaged"):
        read_download("fashion_mnist", tmp_path)
    assert unpacked.read_bytes() == content


def test_what_an_old_torchvision_left_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_fashion_mnist(tmp_path, monkeypatch)
    (tmp_path / "FashionMNIST/processed").mkdir()
    with pytest.raises(DataError, match="processed: unchecked files of an old version"):
        read_download("fashion_mnist", tmp_path)


class Code:
    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (Path("run"),)


@pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta"])
def test_a_pickle_of_another_checksum_is_not_opened(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_cifar(tmp_path, monkeypatch, datasets.CIFAR10, "labels", "label_names")
    monkeypatch.setattr(datasets.CIFAR10, "url", "http://127.0.0.1:9/")
    (tmp_path / datasets.CIFAR10.base_folder / name).write_bytes(pickle.dumps(Code()))
    with pytest.raises(DataError, match="cifar10: not found intact"):
        read_download("cifar10", tmp_path)
    write(tmp_path / "cifar-10-python.tar.gz", b"no archive")
    with pytest.raises(DataError, match="cifar10: not found intact"):
        read_download("cifar10", tmp_path)
    assert not (tmp_path / "run").exists()
