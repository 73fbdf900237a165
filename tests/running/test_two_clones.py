"""Two machines: what one has computed, the other does not compute again."""

from pathlib import Path

import pytest

from tests.toy import STAGES, Toy

pytestmark = pytest.mark.xdist_group("toy")


def clone(toy: Toy, folder: Path) -> Toy:
    toy.run("git", "clone", "--quiet", str(toy.folder), str(folder))
    return Toy(folder)


def test_clones_that_share_a_cache_share_what_nobody_has_committed(
    toy: Toy, tmp_path: Path
) -> None:
    other = clone(toy, tmp_path / "other")
    for one in (toy, other):
        one.dvc("cache", "dir", "--local", str(toy.folder / ".dvc" / "cache"))
        one.edit("arch_update_freq: 5", "arch_update_freq: 3")
    toy.dvc("repro", "--quiet")
    assert toy.ran() == ["search", "export"]
    other.dvc("repro", "--quiet")
    assert other.ran() == []
    model = "artifacts/export/model.onnx"
    assert (other.folder / model).read_text() == (toy.folder / model).read_text()


def test_clones_that_share_a_remote_share_what_is_committed(toy: Toy, tmp_path: Path) -> None:
    toy.dvc("remote", "add", "--default", "shared", str(tmp_path / "remote"))
    toy.commit("a remote")
    toy.dvc("push", "--quiet")
    other = clone(toy, tmp_path / "other")
    other.dvc("pull", "--quiet")
    assert "up to date" in other.dvc("repro")
    assert other.ran() == []
    assert [path.name for path in sorted((other.folder / "artifacts").iterdir())] == sorted(STAGES)
