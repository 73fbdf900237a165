"""Two real processes, started by torchrun, compute what one computes."""

import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipeline.devices.together import add_up, is_mine, share
from pipeline.harness.ranks import count, is_first
from pipeline.training.resume import Points
from tests.test_resume import PHASES, soon  # noqa: F401 - a fixture of every test here too

pytestmark = pytest.mark.xdist_group("together")

ROOT = Path(__file__).resolve().parents[2]
NAMES = (
    "warmup",
    "search",
    "search that stops operations",
    "growth that is accepted",
    "optimize",
)
RUN = """
import sys
import time
from functools import partial
from pathlib import Path
from pipeline.harness import ranks
from pipeline.training import resume
from pipeline.space.checkpoint import encode
from pipeline.training.resume import Points, _split
from pipeline.devices.device import choose_device
from pipeline.alternating import agreement
from pipeline.training.loop import Phase, run
from pipeline.training.stability import Expected
from tests.test_resume import PHASES

choose_device()
folder = Path(sys.argv[1])

write = resume.write_atomically


def slowly(path, content):
    time.sleep(0.5)
    write(path, content)


if ranks.is_first():  # a point is written long after the others have gone on
    resume.write_atomically = slowly


def swinging(state, _):
    while state["epoch"] < 9:
        state["epoch"] += 1
        yield {"epoch": state["epoch"], "train_loss": 1.0 + 0.4 * (-1) ** state["epoch"]}


swung, rows = run(
    Phase(begin=lambda: {"epoch": 0}, epochs=swinging, snapshot=dict, resumed=dict),
    Points("swinging", folder / "swinging"),
    epochs=9,
    images=1,
    expected=Expected(classes=10),
    max_recoveries=3,
)
recoveries = [row["recoveries"] for row in rows]
(folder / f"swinging {ranks.number()}").write_text(f"{swung} {recoveries}")
resume.write_atomically = write
agreement.COMPARISONS = 2
for name in sys.argv[2:]:
    phase = PHASES[name]
    state = phase.start()
    points = Points(name, folder / name)
    rows = list(points.after_each(phase.epochs(state), [], partial(phase.snapshot, state)))
    tensors = {}
    facts = {"state": _split(phase.snapshot(state), "state", tensors), "rows": rows}
    (folder / f"{name} {ranks.number()}").write_bytes(encode(tensors, facts))
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of two processes, which have run all phases together."""
    folder = tmp_path_factory.mktemp("together")
    script = folder / "run.py"
    script.write_text(RUN)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*torchrun, str(script), str(folder), *NAMES],
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("one of 2 processes") == 1
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_after_a_phase_both_processes_have_the_same_bits(ran: Path, name: str) -> None:
    assert (ran / f"{name} 0").read_bytes() == (ran / f"{name} 1").read_bytes()


def test_after_an_oscillation_both_processes_go_on_from_the_same_epoch(ran: Path) -> None:
    first, second = ((ran / f"swinging {number}").read_text() for number in range(2))
    assert first == second == "{'epoch': 9} [0, 0, 0, 0, 0, 0, 1, 1, 1]"


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_end_where_one_does(ran: Path, name: str, tmp_path: Path) -> None:
    phase, points = PHASES[name], Points(name, tmp_path / "points")
    state = phase.start()
    rows = list(points.after_each(phase.epochs(state), [], partial(phase.snapshot, state)))
    alone = load_file(max(points.folder.iterdir()))
    together = load_file(max((ran / name).iterdir()))
    assert alone.keys() == together.keys()
    for key in alone:
        torch.testing.assert_close(together[key], alone[key], rtol=0.02, atol=2e-3, msg=key)
    assert len(rows) == len(points.newest()[1])


def test_what_two_processes_began_one_goes_on_with(ran: Path, tmp_path: Path) -> None:
    phase, points = PHASES["search"], Points("search", tmp_path / "points")
    shutil.copytree(ran / "search", points.folder)
    max(points.folder.iterdir()).unlink()
    saved, before = points.newest()
    assert saved
    state = phase.resumed(saved)
    assert len(list(phase.epochs(state))) == 3 - len(before) == 1
    whole = load_file(max((ran / "search").iterdir()))
    torch.testing.assert_close(state.logits.detach(), whole["state.logits"], rtol=0.02, atol=2e-3)


def test_alone_there_is_nothing_to_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")  # that of something else
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert (count(), is_first()) == (1, True)
    batch, labels = torch.rand(3, 2), torch.arange(3)
    part, targets, total = share(batch, labels)
    assert (total, torch.equal(part, batch), torch.equal(targets, labels)) == (3, True, True)
    add_up([batch])
    assert all(map(is_mine, range(5)))


@pytest.mark.parametrize(("images", "processes"), [(16, 2), (17, 4), (5, 2), (3, 2), (7, 4)])
def test_the_shares_of_a_batch_are_all_of_it(
    images: int, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    labels = torch.arange(images)
    found = []
    for rank in range(processes):
        monkeypatch.setenv("RANK", str(rank))
        part, targets, total = share(labels, labels)
        assert torch.equal(part, targets)
        found.append(part)
    assert sum(map(len, found)) == total
    assert min(map(len, found)) >= 2
    times = total // images
    assert torch.cat(found).tolist() == labels.tolist() * times
