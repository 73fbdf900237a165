"""A disk that is full, broken or read-only at any write gives one line, and no file is lost.

Quick stages are tried at each of their writes; `pytest -m slow` does so with all stages, in each
way that a write can fail.
"""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.injected.workplace import COMMANDS, OLD, TRAINED, Workplace

pytestmark = pytest.mark.xdist_group("faults")

QUICK = ("check", "prepare", "warmup", "derive")
WAYS = [
    "write ENOSPC",
    "write EIO",
    "open EROFS",
    "open ENOSPC",
    "fsync EDQUOT",
    "fsync EIO",
    "rename EROFS",
]
EXIT_CODES = {"ENOSPC": 4, "EDQUOT": 4, "EROFS": 4, "EIO": 1}


def among_artifacts(files: list[Path]) -> set[str]:
    """Return the names of those of a stage's files that are outputs, relative to its folder."""
    return {"/".join(path.parts[2:]) for path in files if path.parts[0] == "artifacts"}


def syncs(place: Workplace, stage: str) -> list[tuple[int, int]]:
    """Return for each sync of a stage which file fails with it, and how many are then in place."""
    done, before, found = 0, "", []
    for operation, *_ in map(str.split, place.trace(stage)):
        done += operation == "rename"
        if (
            operation == "fsync"
        ):  # of a file, of the folder that a file is now in, or of a new one's
            found.append((done - (before == "rename"), done))
        before = operation
    return found


def fail_and_rerun(place: Workplace, stage: str, way: str, number: int) -> None:
    """Make a stage's operation number `number` fail; check the files; run the stage again."""
    operation, error = way.split()
    files, whole = place.written[stage], place.whole[stage]
    synced = operation == "fsync"
    failing, done = syncs(place, stage)[number - 1] if synced else 2 * (number - 1,)
    place.rewind(stage)

    ended = place.run(stage, f"{operation} {number}: {error}")

    reason = os.strerror(getattr(errno, error))
    assert (ended.code, ended.errors) == (EXIT_CODES[error], f"{files[failing]}: {reason}\n")
    replaced = among_artifacts(files[:done])
    expected = {name: whole[name] if name in replaced else OLD for name in whole}
    assert place.artifacts(stage) == expected
    points = [path for path in files[:done] if "resume" in path.parts]
    kept = place.points(stage)
    assert kept[-2:] == points[-2:]
    assert not place.partials()

    again = place.run(stage)

    assert (again.code, again.errors) == (0, "")
    assert place.artifacts(stage) == whole
    goes_on = f"{stage}: resumes after epoch {len(points)} of "
    assert (goes_on in again.output) == bool(points)


@pytest.mark.parametrize("stage", QUICK)
def test_a_disk_that_is_full_at_any_write_spoils_nothing(place: Workplace, stage: str) -> None:
    for number in range(1, len(place.written[stage]) + 1):
        fail_and_rerun(place, stage, "write ENOSPC", number)


@pytest.mark.parametrize("stage", ["search", "growth", "optimize"])
def test_a_disk_that_is_full_half_way_spoils_nothing(place: Workplace, stage: str) -> None:
    fail_and_rerun(place, stage, "write ENOSPC", len(place.written[stage]) // 2)


@pytest.mark.parametrize("way", WAYS[1:])
def test_a_write_may_fail_in_any_way(place: Workplace, way: str) -> None:
    fail_and_rerun(place, "warmup", way, 5)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("stage", COMMANDS)
def test_any_write_of_any_stage_may_fail_in_any_way(place: Workplace, stage: str, way: str) -> None:
    synced = way.startswith("fsync")
    instants = len(syncs(place, stage) if synced else place.written[stage])
    for number in range(1, instants + 1):
        fail_and_rerun(place, stage, way, number)


def test_the_stages_write_what_the_tests_above_count_on(place: Workplace) -> None:
    for stage, files in place.written.items():
        assert among_artifacts(files) == set(place.whole[stage])
        assert any("resume" in path.parts for path in files) == (stage in {*TRAINED, "reference"})


def mounting() -> bool:
    """Whether this sandbox lets a process mount a file system of its own."""
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return (
        bool(shutil.which("unshare"))
        and not subprocess.run(command, capture_output=True, check=False).returncode
    )


@pytest.mark.skipif(not mounting(), reason="no process may mount a file system here")
@pytest.mark.parametrize(
    ("folder", "options", "file", "reason"),
    [
        pytest.param(
            "artifacts/warmup",
            "size=4k",
            "artifacts/warmup/checkpoint.safetensors",
            errno.ENOSPC,
            marks=pytest.mark.slow,
        ),
        ("artifacts/warmup", "ro", "artifacts/warmup/checkpoint.safetensors", errno.EROFS),
        (".aso-se", "size=64k", ".aso-se/resume/{points}/00001.safetensors", errno.ENOSPC),
    ],
)
def test_a_real_file_system_without_room_is_one_line(
    place: Workplace, folder: str, options: str, file: str, reason: int
) -> None:
    place.rewind("warmup")
    (place.folder / folder).mkdir(exist_ok=True)
    stage = f"{sys.executable} -m {' '.join(COMMANDS['warmup'])}"
    mount = f"mount -t tmpfs -o {options} tmpfs {folder}"
    script = f"{mount} || exit 99; {stage}; code=$?; find {folder} -type f; exit $code"
    ended = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script],
        cwd=place.folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    points = place.written["warmup"][0].parts[2]
    line = f"{file.format(points=points)}: {os.strerror(reason)}\n"
    assert (ended.returncode, ended.stderr) == (4, line)
    assert "safetensors" not in ended.stdout
