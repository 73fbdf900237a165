"""A path that DVC cannot hash, or that is not what it looks like, is refused by name."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from pipeline.data.params import DataParams


@pytest.mark.parametrize(
    "path", [".", "..", "artifacts", "./artifacts/prepare", "data/..", "~/photos"]
)
def test_a_path_around_the_artifacts_or_of_a_shell_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match=r"expected (a folder apart from|the whole path)"):
        DataParams(path=path)


@pytest.mark.parametrize("path", ["a\0b", "\x1b[31mred\x1b[2J", "a\nb", "tab\t", "\x85"])
def test_a_path_with_control_characters_is_refused_and_shown_without(path: str) -> None:
    with pytest.raises(ValidationError) as refused:
        DataParams(path=path)
    [mistake] = refused.value.errors()
    assert mistake["msg"].endswith(f"expected a path without control characters, got {path!r}")
    assert mistake["msg"].isprintable()


@pytest.mark.parametrize("path", ["s3://bucket/photos", "https://host.example/photos.zip"])
def test_a_place_on_another_machine_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match="expected a path on this machine"):
        DataParams(path=path)


def test_the_tree_is_refused_by_its_whole_path_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path, tmp_path / "artifacts", tmp_path / "x/../artifacts/prepare"):
        with pytest.raises(ValidationError, match="expected a folder apart from artifacts/"):
            DataParams(path=str(path))
    assert DataParams(path=str(tmp_path / "photos")).path


@pytest.mark.parametrize("path", ["data", "/photos", "../photos", "data/images", "artifacts2"])
def test_any_other_path_is_taken_as_it_is(path: str) -> None:
    assert DataParams(path=path).path == path


def test_a_table_is_refused_with_the_folder_to_name() -> None:
    line = "expected the folder data/dogs that holds this table and its images, as DVC watches"
    with pytest.raises(ValidationError, match=line):
        DataParams(path="data/dogs/labels.csv")
