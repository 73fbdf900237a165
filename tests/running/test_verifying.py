import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.running.verifying import verify
from tests.running.test_front import aso_se
from tests.toy import Toy

pytestmark = pytest.mark.xdist_group("toy")
RESULT = "artifacts/search/result.txt"
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
    for command in commands:
        subprocess.run(["sh", "-c", command], check=True)
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
    assert output == f"{RESULT}: changed\n\nTo restore them:\n  rm -rf {RESULT}\n  aso-se run\n"
    follow_the_advice(toy, output)
    assert toy.ran() == []


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
    listed.unlink()
    code, output = aso_se("verify")
    assert code == 1
    assert output.startswith(f"{listed}: missing: the list of files in images\n")
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
