"""`aso-se` on file systems as people have them: without locks, or read-only."""

import os
import shutil
import socket
import subprocess
import sys

import pytest

from pipeline.harness.places import LOCK
from pipeline.locking.lock import hold
from pipeline.running.mending import mend
from tests.faults.injected.workplace import INJECTED
from tests.faults.test_surroundings import AS_OTHERS
from tests.running.test_front import ROOT
from tests.toy import STAGES, Toy

pytestmark = pytest.mark.xdist_group("toy")


def aso_se(
    *arguments: str, before: tuple[str, ...] = (), fault: str = ""
) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(INJECTED), str(ROOT)])
    return subprocess.run(
        [*before, sys.executable, "-m", "pipeline", *arguments],
        env={**os.environ, "PYTHONPATH": path, "FAULT": fault},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_locks_a_run_goes_on_and_says_how_dvc_does_too(toy: Toy) -> None:
    shutil.rmtree(toy.folder / ".dvc/tmp")
    toy.edit("arch_update_freq: 5", "arch_update_freq: 3")
    done = aso_se("run", fault="flock 1: ENOLCK")
    told, *others = done.stderr.splitlines()
    assert told.startswith(f"{toy.folder / LOCK}: this file system has no locks, so start no secon")
    assert any("Unable to acquire lock" in line for line in others)
    remedy = told.rpartition("run ")[2].strip("'")
    assert remedy == "dvc config --local core.hardlink_lock true"
    toy.dvc(*remedy.split()[1:])

    done = aso_se("run", fault="flock 1: ENOLCK")

    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert toy.ran() == ["search", "export"]
    for command in ("status", "verify"):
        assert aso_se(command, fault="flock 1: ENOLCK").returncode == 0


@pytest.mark.parametrize("host", [socket.gethostname(), "another"])
def test_a_lock_by_hard_links_goes_with_its_process(toy: Toy, host: str) -> None:
    lock = toy.folder / ".dvc/tmp/lock"
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    lock.write_text(f"{lock}|{host}|{gone.pid}|1234")
    is_known = host == socket.gethostname()
    said = [".dvc/tmp/lock: of a run that was killed; removed"] if is_known else []
    assert mend(toy.folder) == said
    assert lock.exists() != is_known


@pytest.mark.skipif(AS_OTHERS and not shutil.which("setpriv"), reason="needs util-linux")
def test_a_tree_that_cannot_be_written_to_is_shown_and_verified(toy: Toy) -> None:
    folders = [toy.folder, *(path for path in toy.folder.rglob("*") if path.is_dir())]
    modes = {path: path.stat().st_mode for path in folders}
    before = sorted(toy.folder.rglob("*"))
    for path in folders:
        path.chmod(0o555)
    shown = aso_se("status", before=AS_OTHERS)
    verified = aso_se("verify", before=AS_OTHERS)
    ran = aso_se("run", before=AS_OTHERS)
    for path, mode in modes.items():
        path.chmod(mode)

    assert (shown.returncode, shown.stderr) == (0, "")
    *table, _, last = shown.stdout.splitlines()
    assert [line.split()[:2] for line in table] == [[one, "ran"] for one in STAGES]
    assert last.startswith("changes since are unknown: ")
    assert (verified.returncode, verified.stderr) == (0, "")
    assert verified.stdout.endswith(" files, all as recorded in dvc.lock\n")
    assert ran.returncode != 0
    assert len(ran.stderr.splitlines()) == 1
    assert sorted(toy.folder.rglob("*")) == before


def test_a_run_shows_in_a_status_that_may_not_write(toy: Toy) -> None:
    with hold(toy.folder / LOCK, "the other run", waiting=print):
        (toy.folder / LOCK).chmod(0o444)
        done = aso_se("status", before=AS_OTHERS)
    assert done.stdout.startswith("running: the other run\n")
