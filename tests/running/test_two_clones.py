"""Two machines: what one has computed, the other does not compute again."""

from pathlib import Path

import pytest

from tests.running.test_front import aso_se
from tests.toy import STAGES, Toy, behave

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


def on_another_cpu(toy: Toy, folder: Path) -> Toy:
    """Return a clone beside others on machines where warmup has another result than committed."""
    other = clone(toy, folder)
    other.dvc("cache", "dir", "--local", str(folder.parent / "cache"))
    return other


@pytest.mark.parametrize("command", [["run"], ["try", "seed=42", "--name", "same"]])
def test_beside_clones_of_its_own_kind_one_restores_what_the_committed_lock_lacks(
    toy: Toy, tmp_path: Path, command: list[str]
) -> None:
    kind = behave(warmup={"kind": " elsewhere"})
    first = on_another_cpu(toy, tmp_path / "first")
    assert aso_se("run", folder=first.folder, toy=kind)[0] == 0
    assert first.ran() == STAGES
    second = on_another_cpu(toy, tmp_path / "second")
    assert aso_se(*command, folder=second.folder, toy=kind)[0] == 0
    assert second.ran() == []
    if command == ["run"]:
        result = "artifacts/warmup/result.txt"
        assert (second.folder / result).read_text().startswith("warmup elsewhere")
        assert second.run("git", "diff", "--stat").count("dvc.lock") == 1


def test_a_result_that_nobody_has_is_computed_and_recorded(toy: Toy, tmp_path: Path) -> None:
    other = on_another_cpu(toy, tmp_path / "other")
    assert aso_se("run", "prepare", folder=other.folder)[0] == 0
    assert other.ran() == ["prepare"]
    assert other.run("git", "diff", "--stat", "dvc.lock") == ""
