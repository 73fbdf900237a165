import os
import shutil
from pathlib import Path

import pytest

from pipeline.running.verifying import verify
from tests.running.test_front import aso_se
from tests.toy import Toy

pytestmark = pytest.mark.xdist_group("toy")
RESULT = "artifacts/search/result.txt"
METRICS = "artifacts/search/metrics.json"
IMAGES = """
  images:
    cmd: mkdir -p images/of && echo a > images/a && echo b > images/of/b
    outs: [images]
"""


def rot(path: Path) -> None:
    """Flip a bit as a bad disk does: size, times and permissions stay."""
    before = path.stat()
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    with path.open("r+b") as file:
        file.write(content)
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def cached(toy: Toy, path: str) -> Path:
    digest = toy.run("md5sum", path)[:32]
    return toy.folder / ".dvc/cache/files/md5" / digest[:2] / digest[2:]


def follow_the_advice(toy: Toy, output: str) -> None:
    """Do what the output says, with this interpreter's `aso-se`."""
    *commands, last = output.split("\nTo restore them:\n")[1].splitlines()
    assert last == "  aso-se run"
    assert commands in ([], ["  aso-se verify --repair"])
    if commands:
        aso_se("verify", "--repair")
    assert aso_se("run")[0] == 0
    files, found = verify(toy.folder)
    assert found == []
    assert aso_se("verify") == (0, f"{files} files, all as recorded in dvc.lock\n")


def test_a_flipped_bit_that_dvc_does_not_see_is_found_and_the_cache_has_the_file(toy: Toy) -> None:
    assert aso_se("run")[0] == 0
    rot(toy.folder / RESULT)
    assert "up to date" in aso_se("run")[1]
    code, output = aso_se("verify")
    assert code == 1
    advice = "\nTo restore them:\n  aso-se verify --repair\n  aso-se run\n"
    assert output == f"{RESULT}: changed\n{advice}"
    follow_the_advice(toy, output)
    assert toy.ran() == []


def test_what_the_cache_still_has_is_repaired_at_once(toy: Toy) -> None:
    files, _ = verify(toy.folder)
    whole = (toy.folder / RESULT).read_bytes()
    rot(toy.folder / RESULT)
    lost = "artifacts/export/model.onnx"
    (toy.folder / lost).unlink()
    code, output = aso_se("verify", "--repair")
    assert code == 0
    *repaired, last = output.splitlines()
    moved = f"{RESULT}: moved to .aso-se/replaced/{RESULT}"
    assert sorted(repaired) == [f"{lost}: repaired", moved, f"{RESULT}: repaired"]
    assert last == f"{files} files, all as recorded in dvc.lock"
    assert (toy.folder / RESULT).read_bytes() == whole
    assert "up to date" in aso_se("run")[1]
    assert toy.ran() == []


def test_rot_in_the_cache_is_repaired_from_the_tree(toy: Toy) -> None:
    stored = cached(toy, RESULT)
    whole = stored.read_bytes()
    rot(stored)
    assert aso_se("verify", "--repair")[0] == 0
    assert stored.read_bytes() == whole == (toy.folder / RESULT).read_bytes()
    assert stored.stat().st_mode & 0o777 == 0o444


def test_what_is_nowhere_whole_is_moved_away_and_made_again(toy: Toy) -> None:
    stored = cached(toy, RESULT)
    rot(stored)
    rot(toy.folder / RESULT)
    rotten = (toy.folder / RESULT).read_bytes()
    code, output = aso_se("verify", "--repair")
    assert code == 1
    assert f"{RESULT}: moved to .aso-se/replaced/{RESULT}\n" in output
    assert (toy.folder / ".aso-se/replaced" / RESULT).read_bytes() == rotten
    assert output.endswith(f"{RESULT}: missing\n\nTo restore them:\n  aso-se run\n")
    assert not stored.exists()
    assert aso_se("run")[0] == 0
    assert toy.ran() == ["search"]
    assert aso_se("verify")[0] == 0


def test_each_edit_that_a_repair_replaces_is_kept(toy: Toy) -> None:
    for edit in ("first", "second"):
        (toy.folder / RESULT).write_text(edit)
        assert aso_se("verify", "--repair")[0] == 0
    kept = sorted((toy.folder / ".aso-se/replaced/artifacts/search").iterdir())
    assert [(one.name, one.read_text()) for one in kept] == [
        ("result.txt", "first"),
        ("result.txt.2", "second"),
    ]


def test_a_metric_is_restored_from_the_cache_or_git_else_left_alone(toy: Toy) -> None:
    path = toy.folder / METRICS
    whole = path.read_bytes()
    assert cached(toy, METRICS).exists()
    rot(path)
    assert aso_se("verify", "--repair")[0] == 0
    assert path.read_bytes() == whole
    shutil.rmtree(toy.folder / ".dvc/cache")
    path.write_text("edited")
    toy.commit("other metrics")
    code, output = aso_se("verify", "--repair")
    assert code == 1
    assert output.startswith(f"{METRICS}: changed, and neither DVC's cache nor Git has what was")
    assert path.read_text() == "edited"
    path.write_bytes(whole)
    toy.commit("the metrics")
    rot(path)
    code, output = aso_se("verify", "--repair")
    assert code == 0
    assert f"{METRICS}: repaired\n" in output
    assert path.read_bytes() == whole


def test_a_repair_leaves_the_other_files_of_a_folder_alone(toy: Toy) -> None:
    with (toy.folder / "dvc.yaml").open("a") as file:
        file.write(IMAGES)
    assert aso_se("run")[0] == 0
    cached(toy, "images/a").unlink()  # the tree alone has it whole
    (toy.folder / "images/own").write_text("a note")
    rot(toy.folder / "images/of/b")
    rot(toy.folder / RESULT)
    assert aso_se("verify", "--repair")[0] == 0
    for name, content in (("a", "a\n"), ("of/b", "b\n"), ("own", "a note")):
        assert (toy.folder / "images" / name).read_text() == content


def test_what_cannot_be_repaired_is_told_and_the_rest_is_repaired(toy: Toy) -> None:
    path, other = toy.folder / RESULT, toy.folder / "artifacts/export/model.onnx"
    whole = other.read_bytes()
    rot(other)
    shutil.rmtree(path.parent)
    path.parent.write_text("no folder")
    code, output = aso_se("verify", "--repair")
    assert code == 1
    assert f"{RESULT}: not repaired: [Errno " in output
    assert path.parent.read_text() == "no folder"
    assert other.read_bytes() == whole


def test_a_clone_in_which_nothing_ran_is_one_line(toy: Toy, tmp_path: Path) -> None:
    toy.run("git", "clone", "--quiet", str(toy.folder), str(tmp_path / "clone"))
    line = "nothing that dvc.lock records is in this clone; 'aso-se run' makes it\n"
    assert aso_se("verify", folder=tmp_path / "clone") == (1, line)


@pytest.fixture
def store(toy: Toy) -> Path:
    """A remote in a folder beside the project, to which everything was pushed."""
    toy.dvc("remote", "add", "--default", "shelf", "../shelf")
    toy.dvc("push", "--quiet")
    return toy.folder.parent / "shelf"


def pushed(toy: Toy, store: Path, path: str) -> Path:
    return store / cached(toy, path).relative_to(toy.folder / ".dvc/cache")


def test_what_was_pushed_is_read_back_whole(toy: Toy, store: Path) -> None:
    shutil.rmtree(toy.folder / ".dvc/cache")  # so it comes from nowhere else
    code, output = aso_se("verify", "--remote")
    assert code == 0
    [_, line] = output.splitlines()
    assert line.endswith("files and lists, all in the remote 'shelf' as recorded in dvc.lock")
    assert not (toy.folder / ".aso-se/remote").exists()
    assert not (toy.folder / ".dvc/cache").exists()


def test_what_the_remote_lacks_or_has_otherwise_is_named(toy: Toy, store: Path) -> None:
    changed, missing = pushed(toy, store, RESULT), pushed(toy, store, "artifacts/export/model.onnx")
    rot(changed)
    missing.unlink()
    code, output = aso_se("verify", "--remote")
    assert code == 1
    place = changed.relative_to(store)
    assert f"\n{RESULT}: changed in the remote 'shelf'; remove {place}\n" in output
    assert "\nartifacts/export/model.onnx: missing in the remote 'shelf'\n" in output
    assert output.count(" in the remote 'shelf'") == 3
    changed.unlink()  # as it is told
    toy.dvc("push", "--quiet")
    assert aso_se("verify", "--remote")[0] == 0


def test_a_folder_in_the_remote_is_read_back_with_its_list(toy: Toy, store: Path) -> None:
    with (toy.folder / "dvc.yaml").open("a") as file:
        file.write(IMAGES)
    assert aso_se("run")[0] == 0
    code, output = aso_se("verify", "--remote")
    assert code == 1
    assert "\nthe list of files in images: missing in the remote 'shelf'\n" in output
    toy.dvc("push", "--quiet")
    assert aso_se("verify", "--remote")[0] == 0
    wrong, lacking = pushed(toy, store, "images/of/b"), pushed(toy, store, "images/a")
    (listed,) = store.rglob("*.dir")
    rot(wrong)
    places = [path.relative_to(store) for path in (wrong, listed)]
    told = f"\nimages/of/b: changed in the remote 'shelf'; remove {places[0]} and {places[1]}\n"
    assert told in aso_se("verify", "--remote")[1]
    lacking.unlink()
    code, output = aso_se("verify", "--remote")
    assert code == 1
    assert told in output
    assert f"\nimages/a: missing in the remote 'shelf'; remove {places[1]}\n" in output
    wrong.unlink()  # as it is told
    listed.unlink()
    toy.dvc("push", "--quiet")
    assert aso_se("verify", "--remote")[0] == 0


def test_without_a_remote_or_with_one_that_is_gone_there_is_one_line(toy: Toy) -> None:
    code, output = aso_se("verify", "--remote")
    assert (code, output.count("\n")) == (1, 1)
    assert output.startswith("this project has no default DVC remote; 'dvc remote add --default")
    toy.dvc("remote", "add", "--default", "shelf", "http://mary:CANARY12@127.0.0.1:9/nowhere")
    code, output = aso_se("verify", "--remote")
    assert code == 1
    [_, line] = output.splitlines()
    assert line.startswith("nothing that dvc.lock records is in the remote 'shelf', or it does not")
    assert "CANARY12" not in output


def test_missing_files_are_found_metrics_too(toy: Toy) -> None:
    missing = [RESULT, "artifacts/export/metrics.json"]
    for path in missing:
        (toy.folder / path).unlink()
    code, output = aso_se("verify")
    assert code == 1
    lines = [f"{path}: missing" for path in reversed(missing)]
    assert sorted(output.split("\n\n")[0].splitlines()) == sorted(lines)
    follow_the_advice(toy, output)
    assert toy.ran() == []


def test_rot_in_the_cache_is_put_right_from_the_file(toy: Toy) -> None:
    stored = cached(toy, RESULT)
    rot(stored)
    code, output = aso_se("verify")
    assert code == 1
    assert output.startswith(f"{stored}: changed: the copy of {RESULT} in DVC's cache\n")
    follow_the_advice(toy, output)
    assert toy.ran() == []


def test_where_file_and_cache_are_rotten_the_stage_runs_again(toy: Toy) -> None:
    stored = cached(toy, RESULT)
    rot(stored)
    shutil.copyfile(stored, toy.folder / RESULT)
    code, output = aso_se("verify")
    assert code == 1
    follow_the_advice(toy, output)
    assert toy.ran() == ["search"]


def test_files_of_a_folder_are_named_and_its_list_may_be_lost(toy: Toy) -> None:
    with (toy.folder / "dvc.yaml").open("a") as file:
        file.write(IMAGES)
    assert aso_se("run")[0] == 0
    rot(toy.folder / "images/of/b")
    code, output = aso_se("verify")
    assert code == 1
    assert output.startswith("images/of/b: changed\n\n")
    follow_the_advice(toy, output)
    (listed,) = (toy.folder / ".dvc/cache").rglob("*.dir")
    whole = listed.read_bytes()
    listed.unlink()
    assert aso_se("verify")[0] == 0  # a cache may lack what the tree has
    listed.write_bytes(whole)
    rot(listed)
    code, output = aso_se("verify")
    assert code == 1
    assert output.startswith(f"{listed}: changed: the list of files in images\n")
    assert aso_se("verify", "--repair")[0] == 0
    assert listed.read_bytes() == whole
    rot(listed)
    rot(toy.folder / "images/of/b")
    code, output = aso_se("verify")
    assert code == 1
    follow_the_advice(toy, output)


@pytest.mark.parametrize(
    ("content", "problem"), [(None, "no such file; 'aso-se run' makes it"), ("", "damaged; 'as")]
)
def test_without_a_whole_dvc_lock_there_is_nothing_to_compare_with(
    toy: Toy, content: str | None, problem: str
) -> None:
    (toy.folder / "dvc.lock").unlink()
    if content is not None:
        (toy.folder / "dvc.lock").write_text(content)
    code, output = aso_se("verify")
    assert (code, output.count("\n")) == (1, 1)
    assert output.startswith(f"dvc.lock: {problem}")
