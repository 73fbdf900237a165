"""Any data set comes as squares of the wanted size."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from sklearn.datasets import load_digits

from pipeline.data.params import DataName, DataParams
from pipeline.data.source import Source
from pipeline.data.sources import SOURCES
from pipeline.prepared.labelled import Labelled
from tests.data.drawing import read


def params(**changes: object) -> DataParams:
    plain = {"name": "digits", "image_size": 8, "validation_fraction": 0.3, "test_fraction": 0.2}
    return DataParams.model_validate({**plain, **changes})


def test_every_name_that_params_may_give_has_a_source() -> None:
    assert set(SOURCES) == set(get_args(DataName))


def test_digits_need_no_file() -> None:
    source = read(params(path="nowhere"))
    assert source.name == "digits"
    assert source.classes == tuple("0123456789")
    assert source.train.images.shape == (1797, 8, 8, 1)
    assert source.train.images.dtype == np.uint8
    assert source.test is None


def test_the_17_levels_of_digits_fill_the_range_evenly() -> None:
    images = read(params()).train.images
    expected = np.rint(load_digits().images * 255 / 16)
    assert np.array_equal(images[..., 0], expected)
    assert (images.min(), images.max(), len(np.unique(images))) == (0, 255, 17)


def test_digits_are_resized_on_request() -> None:
    small, large = (read(params(image_size=size)).train for size in (8, 12))
    assert large.images.shape == (1797, 12, 12, 1)
    assert np.array_equal(small.labels, large.labels)
    assert abs(small.images.mean() - large.images.mean()) < 2


def test_an_image_folder_is_read_from_its_path(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (9, 9)).save(tmp_path / name / "1.png")
    source = read(params(name="image_folder", path=str(tmp_path), image_size=5))
    assert source.train.images.shape == (2, 5, 5, 3)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "imagenet"},
        {"image_size": 3},
        {"image_size": 1025},
        {"image_size": 8.5},
        {"validation_fraction": 0.0},
        {"test_fraction": 1.0},
        {"test_fraction": True},
        {"path": ""},
        {"batch": 3},
    ],
)
def test_params_that_cannot_be_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        params(**change)


def test_a_source_of_its_own_has_all_its_splits_resized(monkeypatch: pytest.MonkeyPatch) -> None:
    part = Labelled(images=np.zeros((4, 6, 6, 3), np.uint8), labels=np.array([0, 1, 0, 1]))
    own = Source(name="own", classes=("a", "b"), train=part, validation=part, test=part)
    monkeypatch.setitem(SOURCES, "digits", lambda *_: own)
    found = read(params(image_size=5))
    for split in (found.train, found.validation, found.test):
        assert split is not None
        assert split.images.shape == (4, 5, 5, 3)
