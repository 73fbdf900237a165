"""A path that DVC cannot hash, or that is not what it looks like, is refused by name."""

import pytest
from pydantic import ValidationError

from pipeline.data.params import DataParams


@pytest.mark.parametrize("path", [".", "artifacts", "./artifacts/prepare", "data/..", "~/photos"])
def test_a_path_around_the_artifacts_or_of_a_shell_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match=r"expected (a folder apart from|the whole path)"):
        DataParams(path=path)


@pytest.mark.parametrize("path", ["data", "/photos", "../photos", "data/images", "artifacts2"])
def test_any_other_path_is_taken_as_it_is(path: str) -> None:
    assert DataParams(path=path).path == path


def test_a_table_is_refused_with_the_folder_to_name() -> None:
    line = "expected the folder data/dogs that holds this table and its images, as DVC watches"
    with pytest.raises(ValidationError, match=line):
        DataParams(path="data/dogs/labels.csv")
