"""A power cut loses what was not synced: contents of files, and names in folders. No result is."""

from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.faults.injected.workplace import COMMANDS, Workplace

pytestmark = pytest.mark.xdist_group("faults")


def lost(folder: Path, trace: list[str]) -> set[str]:
    """Return what a power cut could take: files in place without content, and names at the end.

    A disk keeps a content once its file is synced, and a name once the folder that has it is.
    """
    written, named, files, found = set[Path](), set[Path](), set[Path](), set[str]()
    for line in trace:
        operation, _, name = line.partition(" ")
        path = folder / name
        if operation == "write":
            written.add(path)
        elif operation == "fsync":
            written.discard(path)
            named = {one for one in named if one.parent != path}
        elif operation == "mkdir":
            named.add(path)
        elif operation == "rename":
            files.add(path)
            named.add(path)
            pattern = f".{path.name}.*.partial"  # of its own for each writer
            if any(one.parent == path.parent and one.match(pattern) for one in written):
                found.add(f"content of {path.relative_to(folder)}")
    needed = files.union(*(file.parents for file in files))
    return found | {f"name of {path.relative_to(folder)}" for path in named & needed}


@pytest.mark.parametrize("stage", COMMANDS)
def test_a_power_cut_takes_nothing_that_a_stage_has_put_in_place(
    place: Workplace, stage: str
) -> None:
    assert "rename" in " ".join(place.traces[stage])
    assert lost(place.folder, place.traces[stage]) == set()


@pytest.mark.parametrize(
    ("left_out", "found"),
    [
        ("fsync {folder}", {"name of artifacts"}),
        ("fsync {folder}/artifacts", {"name of artifacts/check"}),
        (
            "fsync {folder}/artifacts/check",
            {"name of artifacts/check/params.txt", "name of artifacts/check/defaults.json"},
        ),
        (
            "fsync {folder}/artifacts/check/.params.txt.*.partial",
            {"content of artifacts/check/params.txt"},
        ),
    ],
)
def test_a_sync_that_is_left_out_is_noticed(
    place: Workplace, left_out: str, found: set[str]
) -> None:
    pattern = left_out.format(folder=place.folder)
    kept = [one for one in place.traces["check"] if not fnmatchcase(one, pattern)]
    assert len(kept) < len(place.traces["check"])
    assert lost(place.folder, kept) == found
