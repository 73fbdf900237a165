import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from dvc.utils.serialize import YAMLFileCorruptedError, parse_yaml
from voluptuous import Invalid

from pipeline.harness.errors import RunError
from pipeline.locking.lock import hold
from pipeline.running.mending import mend
from pipeline.running.recorded import read_outputs
from pipeline.running.repro import SITE_CACHE, Repro
from tests.toy import Toy, behave

pytestmark = pytest.mark.xdist_group("toy")


def reproduces(toy: Toy) -> bool:
    with Repro(toy.folder) as repro:
        list(repro.lines())
        while repro.stage:
            list(repro.lines())
    return repro.succeeded


def rwlock(toy: Toy, pid: int) -> Path:
    """Write that a process runs search."""
    path = toy.folder / ".dvc" / "tmp" / "rwlock"
    owner = {"pid": pid, "cmd": "dvc repro"}
    path.write_text(json.dumps({"write": {str(toy.folder / "artifacts/search/result.txt"): owner}}))
    return path


def broken_rwlock(toy: Toy) -> None:
    (toy.folder / ".dvc" / "tmp" / "rwlock").write_bytes(b"")


def foreign_rwlock(toy: Toy) -> None:
    (toy.folder / ".dvc" / "tmp" / "rwlock").write_text('{"write": []}')


def reused_pid(toy: Toy) -> None:
    """Record the number of a process that is not DVC, because the number was reused."""
    rwlock(toy, os.getpid())


def empty_dvc_lock(toy: Toy) -> None:
    (toy.folder / "dvc.lock").write_bytes(b"")


def cut_dvc_lock(toy: Toy) -> None:
    path = toy.folder / "dvc.lock"
    path.write_bytes(path.read_bytes()[:700])


def damaged_database(toy: Toy) -> None:
    assert reproduces(toy)
    for path in (toy.folder / SITE_CACHE).rglob("cache.db"):
        path.write_bytes(b"no database" * 1000)


DAMAGES = [
    broken_rwlock,
    foreign_rwlock,
    reused_pid,
    empty_dvc_lock,
    cut_dvc_lock,
    damaged_database,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_blocks_every_later_dvc_is_mended_and_nothing_runs_again(
    toy: Toy, damage: Callable[[Toy], None]
) -> None:
    toy.edit("arch_update_freq: 5", "arch_update_freq: 3")
    damage(toy)
    assert not reproduces(toy)
    toy.edit("arch_update_freq: 3", "arch_update_freq: 5")
    toy.ran()
    (line,) = mend(toy.folder)
    assert "damaged" in line or "removed" in line
    assert reproduces(toy)
    assert toy.ran() == []
    assert toy.run("git", "status", "--short") == ""
    assert mend(toy.folder) == []


def test_a_dvc_lock_cut_anywhere_is_refused_or_is_one_that_dvc_takes(toy: Toy) -> None:
    path = toy.folder / "dvc.lock"
    whole = path.read_text()
    refused = 0
    for length in range(len(whole)):
        path.write_text(whole[:length])
        try:
            read_outputs(toy.folder)
        except RunError:
            refused += 1
        else:
            COMPILED_LOCKFILE_SCHEMA(parse_yaml(whole[:length], "dvc.lock"))
    assert refused > 0.9 * len(whole)
    with pytest.raises((Invalid, YAMLFileCorruptedError)):
        COMPILED_LOCKFILE_SCHEMA(parse_yaml(whole[:700], "dvc.lock"))


def test_without_a_committed_dvc_lock_all_is_found_in_the_run_cache(toy: Toy) -> None:
    whole = (toy.folder / "dvc.lock").read_text()
    toy.run("git", "rm", "--quiet", "dvc.lock")
    toy.commit("no lock")
    cut = whole[:700]
    (toy.folder / "dvc.lock").write_text(cut)
    assert mend(toy.folder) == [
        "dvc.lock: damaged, and not committed; moved to .aso-se/dvc.lock.damaged"
    ]
    assert (toy.folder / ".aso-se/dvc.lock.damaged").read_text() == cut
    assert reproduces(toy)
    assert toy.ran() == []
    assert (toy.folder / "dvc.lock").read_text() == whole


def test_a_zombie_is_gone_as_in_a_container_without_an_init(toy: Toy) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        rwlock(toy, process.pid)
        toy.edit("arch_update_freq: 5", "arch_update_freq: 3")
        assert not reproduces(toy)
        assert mend(toy.folder) == [".dvc/tmp/rwlock: names a run that was killed; removed"]
        assert reproduces(toy)


def test_a_merge_conflict_is_left_to_a_person(toy: Toy) -> None:
    path = toy.folder / "dvc.lock"
    path.write_text(f"<<<<<<< HEAD\n{path.read_text()}=======\n>>>>>>> other\n")
    before = path.read_text()
    with pytest.raises(RunError, match=r"^dvc.lock: merge conflict; run 'git checkout --ours "):
        mend(toy.folder)
    assert path.read_text() == before


def test_a_dvc_that_runs_a_stage_keeps_its_rwlock(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY", behave(search={"seconds": 60}))
    toy.edit("arch_update_freq: 5", "arch_update_freq: 3")
    with Repro(toy.folder) as repro:
        list(repro.lines())
        while repro.stage and repro.stage.name != "search":
            list(repro.lines())
        next(repro.lines())
        with pytest.raises(RunError, match=r"^another DVC \(pid \d+: .*dvc.* repro\) runs a stage"):
            mend(toy.folder)
        assert "search" in (toy.folder / ".dvc/tmp/rwlock").read_text()


def test_nothing_is_mended_while_another_dvc_has_its_lock(toy: Toy) -> None:
    broken_rwlock(toy)
    with hold(toy.folder / ".dvc/tmp/lock", "a dvc", waiting=print):
        assert mend(toy.folder) == []
    assert len(mend(toy.folder)) == 1
