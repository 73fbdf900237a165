"""Two real processes, each started by a torchrun of its own, compute what one computes."""

import os
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipeline.devices.together import add_up, is_mine, share
from pipeline.harness.errors import TrainingFailedError
from pipeline.harness.ranks import count, is_first
from pipeline.space.network import Network
from pipeline.space.relaxation import disabled
from pipeline.training.evaluation import estimate_statistics
from pipeline.training.loop import run
from pipeline.training.params import TrainingParams
from pipeline.training.resume import Points
from tests.breaking import TOGETHER, break_operations, nan
from tests.conftest import random_images, tiny
from tests.phases import PHASES
from tests.test_resume import here, soon  # noqa: F401 - fixtures of every test here too

pytestmark = pytest.mark.xdist_group("together")

ROOT = Path(__file__).resolve().parents[2]
NAMES = (
    "warmup",
    "search",
    "search that stops operations",
    "search with a target",
    "growth that is accepted",
    "growth of all kinds",
    "optimize",
    "optimize with a teacher",
    "optimize with patience",
)
RUN = """
import sys
import time
from pathlib import Path

import pytest

from pipeline.alternating import agreement
from pipeline.devices.device import choose_device
from pipeline.harness import ranks
from pipeline.harness.errors import TrainingFailedError
from pipeline.space.checkpoint import encode
from pipeline.training import resume
from pipeline.training.evaluation import estimate_statistics
from pipeline.training.loop import run
from pipeline.training.params import TrainingParams
from pipeline.training.resume import Points, _split
from tests.breaking import TOGETHER, break_operations, in_process, nan
from tests.conftest import random_images, tiny
from tests.devices.test_together import with_other_statistics
from tests.phases import PHASES, Told

choose_device()
folder, checkpoint = map(Path, sys.argv[1:3])
write = resume.write_atomically


def slowly(path, content):
    time.sleep(0.5)
    write(path, content)


if ranks.is_first():  # a point is written long after the others have gone on
    resume.write_atomically = slowly

swinging = Told(does=lambda epoch, _: {"train_loss": 1.0 + 0.4 * (-1) ** epoch}, epochs=9)
swung, rows = run(swinging, Points("swinging", folder / "swinging"))
recoveries = [row["recoveries"] for row in rows]
(folder / f"swinging {ranks.number()}").write_text(f"{swung} {recoveries}")
resume.write_atomically = write
few = with_other_statistics(checkpoint)
estimate_statistics(few, random_images(8), tiny(TrainingParams, statistics_batches=1))
(folder / f"few {ranks.number()}").write_bytes(encode(few.state_dict(), {}))
agreement.COMPARISONS = 2
for name in sys.argv[3:]:
    phase = PHASES[TOGETHER.get(name, [name])[0]](checkpoint)
    with pytest.MonkeyPatch.context() as patch:
        if name in TOGETHER:
            _, place, of = TOGETHER[name]
            break_operations(patch, (*place, of(in_process(1, nan))))
        try:
            state, rows = run(phase, Points(name, folder / name))
        except TrainingFailedError as error:
            (folder / f"{name} {ranks.number()}").write_text(str(error))
            continue
    tensors = {}
    facts = {"state": _split(phase.snapshot(state), "state", tensors), "rows": rows}
    (folder / f"{name} {ranks.number()}").write_bytes(encode(tensors, facts))
"""


def with_other_statistics(checkpoint: Path) -> Network:
    network: Network = PHASES["optimize"](checkpoint).begin().network
    for one in network.buffers():
        one.fill_(7.0)
    return network


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    """Return the folder of two processes, as of two machines, that have run all phases together."""
    folder = tmp_path_factory.mktemp("together")
    script = folder / "run.py"
    script.write_text(RUN)
    with socket.create_server(("localhost", 0)) as free:
        meeting = f"localhost:{free.getsockname()[1]}"
    machine = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
    machine += ["--rdzv-backend=c10d", f"--rdzv-endpoint={meeting}", "--rdzv-id=together"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def launch(_: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*machine, str(script), str(folder), str(checkpoint), *NAMES, *TOGETHER],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )

    with ThreadPoolExecutor() as launchers:
        done = list(launchers.map(launch, range(2)))
    assert [one.returncode for one in done] == [0, 0], "".join(one.stderr for one in done)
    assert "".join(one.stdout for one in done).count("one of 2 processes") == 1
    return folder


@pytest.mark.parametrize("name", [*NAMES, *TOGETHER])
def test_after_a_phase_both_processes_have_the_same_bits(ran: Path, name: str) -> None:
    assert (ran / f"{name} 0").read_bytes() == (ran / f"{name} 1").read_bytes()


def test_after_an_oscillation_both_processes_go_on_from_the_same_epoch(ran: Path) -> None:
    first, second = ((ran / f"swinging {number}").read_text() for number in range(2))
    assert first == second == "{'epoch': 9} [0, 0, 0, 0, 0, 0, 1, 1, 1]"


def test_statistics_of_fewer_batches_than_processes_are_those_of_one_process(
    ran: Path, checkpoint: Path
) -> None:
    alone = with_other_statistics(checkpoint)
    estimate_statistics(alone, random_images(8), tiny(TrainingParams, statistics_batches=1))
    for number in range(2):
        together = load_file(ran / f"few {number}")
        for name, tensor in alone.state_dict().items():
            assert torch.equal(together[name], tensor)


# Not growth of all kinds: nine epochs and four growths make a rounding as large as a logit. Not
# patience: a rounding may make another epoch the best.
@pytest.mark.parametrize(
    "name", sorted({*NAMES} - {"growth of all kinds", "optimize with patience"})
)
def test_two_processes_end_where_one_does(
    ran: Path, name: str, checkpoint: Path, tmp_path: Path
) -> None:
    points = Points(name, tmp_path / "points")
    _, rows = run(PHASES[name](checkpoint), points)
    alone = load_file(max(points.folder.iterdir()))
    together = load_file(max((ran / name).iterdir()))
    assert alone.keys() == together.keys()
    for key in alone:
        torch.testing.assert_close(together[key], alone[key], rtol=0.02, atol=2e-3, msg=key)
    assert len(rows) == len(Points(name, ran / name).newest()[1])


@pytest.mark.parametrize("name", TOGETHER)
def test_what_fails_in_one_of_two_processes_is_named_and_disabled_in_both(
    ran: Path,
    name: str,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    phase, place, of = TOGETHER[name]
    break_operations(monkeypatch, (*place, of(nan)))
    points = Points(name, tmp_path / "points")
    if phase == "optimize":
        with pytest.raises(TrainingFailedError) as caught:
            run(PHASES[phase](checkpoint), points)
        assert (ran / f"{name} 1").read_text() == str(caught.value)
        return
    _, rows = run(PHASES[phase](checkpoint), points)
    _, together = Points(name, ran / name).newest()
    assert [row.get("disabled") for row in together] == [row.get("disabled") for row in rows]
    assert any("made NaN of finite " in str(row.get("disabled")) for row in rows)
    alone = load_file(max(points.folder.iterdir()))
    logits = load_file(max((ran / name).iterdir()))["state.logits"]
    assert disabled(logits).sum() == 1
    assert disabled(logits).equal(disabled(alone["state.logits"]))


def test_what_two_processes_began_one_goes_on_with(
    ran: Path, checkpoint: Path, tmp_path: Path
) -> None:
    phase, points = PHASES["search"](checkpoint), Points("search", tmp_path / "points")
    shutil.copytree(ran / "search", points.folder)
    max(points.folder.iterdir()).unlink()
    assert len(points.newest()[1]) == phase.epochs - 1
    state, rows = run(phase, points)
    assert len(rows) == phase.epochs
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
