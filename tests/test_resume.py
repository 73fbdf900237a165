"""A run that was killed after any epoch goes on from its file to the same bytes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.alternating import agreement
from pipeline.alternating import state as search_state
from pipeline.alternating.params import SearchParams
from pipeline.batches.params import AugmentationParams
from pipeline.batches.randomness import generator
from pipeline.growing import grow
from pipeline.growing import state as growth_state
from pipeline.growing.params import GrowthParams
from pipeline.harness.records import Row
from pipeline.harness.section import Section, Seed
from pipeline.optimizing import optimize
from pipeline.optimizing.params import OptimizeParams
from pipeline.searching import search
from pipeline.space.checkpoint import Checkpoint, encode
from pipeline.space.params import NetworkParams
from pipeline.supernet import supernet
from pipeline.training.params import TrainingParams
from pipeline.training.resume import KEPT_RUNS, Points, resume_points
from pipeline.warming import warm
from pipeline.warming.params import WarmupParams
from tests.conftest import search_images, tiny, tiny_network

IMAGES = search_images()
TRAINING = tiny(TrainingParams)
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Phase:
    """How a phase starts, runs, is saved and is brought back."""

    start: Callable[[], Any]
    epochs: Callable[[Any], Iterator[Row]]
    snapshot: Callable[[Any], dict[str, Any]]
    resumed: Callable[[dict[str, Any]], Any]


def checkpoint(epoch: int = 5) -> Checkpoint:
    logits = torch.randn(2, 5, 4, generator=generator(0, "logits"))
    facts = {"epoch": epoch, "temperature": 0.5}
    return Checkpoint(network=tiny_network(), logits=logits, facts=facts)


def warming() -> Phase:
    params = tiny(WarmupParams, epochs=3)
    fields = {"training": TRAINING, "augmentation": tiny(AugmentationParams), "seed": 0}
    network = tiny(NetworkParams)
    return Phase(
        lambda: warm.start(network, TRAINING, image_channels=3, classes=3, seed=0, device=CPU),
        lambda state: warm.epochs(state, IMAGES, params=params, **fields),
        supernet.snapshot,
        lambda saved: warm.resumed(saved, TRAINING, CPU),
    )


def searching(**changes: Any) -> Phase:
    params = tiny(SearchParams, epochs=3, **changes)
    fields = {"training": TRAINING, "augmentation": tiny(AugmentationParams), "seed": 0}
    return Phase(
        lambda: search_state.start(checkpoint(), params, TRAINING, images=24, seed=0),
        lambda state: search.epochs(state, IMAGES, params=params, **fields),
        search_state.snapshot,
        lambda saved: search_state.resumed(saved, TRAINING, CPU),
    )


def growing(**changes: Any) -> Phase:
    recipe = growth_state.Recipe(
        network=tiny(NetworkParams),
        training=TRAINING,
        augmentation=tiny(AugmentationParams),
        search=tiny(SearchParams),
        growth=tiny(GrowthParams, **changes),
    )
    return Phase(
        lambda: growth_state.start(checkpoint(), recipe, images=24),
        lambda state: grow.epochs(state, IMAGES, recipe, 0),
        growth_state.snapshot,
        lambda saved: growth_state.resumed(saved, TRAINING, CPU),
    )


def optimizing(**changes: Any) -> Phase:
    params = tiny(OptimizeParams, epochs=3, **changes)
    fields = {"training": TRAINING, "augmentation": tiny(AugmentationParams), "seed": 0}
    images, validation = IMAGES.training, IMAGES.validation

    def start() -> optimize.OptimizeState:
        return optimize.start(checkpoint(), images, params, TRAINING, seed=0)

    def resumed(saved: dict[str, Any]) -> optimize.OptimizeState:
        return optimize.resumed(start(), saved)

    run = partial(optimize.epochs, images=images, validation=validation, params=params, **fields)
    return Phase(start, run, optimize.snapshot, resumed)


PHASES = {
    "warmup": warming(),
    "search": searching(),
    "search that stops operations": searching(arch_update_freq=2, stop_operations=1.0),
    "growth that is accepted": growing(),
    "growth that is rolled back": growing(tolerance=0.0, settle=2),
    "optimize": optimizing(),
    "optimize with everything": optimizing(ema_decay=0.9, auxiliary_weight=0.4, drop_path=0.2),
}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judge an operation after so few comparisons that a tiny search stops some."""
    monkeypatch.setattr(agreement, "COMPARISONS", 2)


def newest(folder: Path) -> bytes:
    return max(folder.glob("*.safetensors")).read_bytes()


@pytest.mark.parametrize("name", PHASES)
def test_a_run_broken_off_after_any_epoch_goes_on_to_the_same_bytes(
    name: str, tmp_path: Path
) -> None:
    phase = PHASES[name]
    whole = Points(name, tmp_path / "whole")
    state = phase.start()
    expected = list(whole.after_each(phase.epochs(state), [], partial(phase.snapshot, state)))
    for most in range(1, len(expected)):
        points = Points(name, tmp_path / str(most))
        state = phase.start()
        rows = points.after_each(phase.epochs(state), [], partial(phase.snapshot, state))
        assert list(islice(rows, most)) == expected[:most]
        saved, before = points.newest()
        assert saved
        assert before == expected[:most]
        state = phase.resumed(saved)
        rest = points.after_each(phase.epochs(state), before, partial(phase.snapshot, state))
        assert [*before, *rest] == expected
        assert newest(points.folder) == newest(whole.folder)


def test_the_phases_above_are_what_they_are_called() -> None:
    for name, verdict in (("accepted", "accepted"), ("rolled back", "rolled back")):
        phase = PHASES[f"growth that is {name}"]
        state = phase.start()
        list(phase.epochs(state))
        assert verdict in [event.verdict for event in state.events]
    phase = PHASES["search that stops operations"]
    state = phase.start()
    list(phase.epochs(state))
    assert 0 < int(state.agreement.stopped.sum()) < len(state.agreement.stopped)


@pytest.fixture
def points(tmp_path: Path) -> Points:
    """Points of three epochs of something that is a number and a tensor."""
    made = Points("search", tmp_path / "points")
    rows: list[Row] = [{"epoch": epoch, "loss": 1 / epoch} for epoch in (1, 2, 3)]
    numbers = iter((1, 2, 3))
    list(made.after_each(iter(rows), [], lambda: {"a": {"b": [torch.ones(2), next(numbers)]}}))
    return made


def test_two_points_are_kept_and_the_newest_is_taken(points: Points) -> None:
    assert [path.stem for path in sorted(points.folder.iterdir())] == ["00002", "00003"]
    saved, rows = points.newest()
    assert saved
    assert saved["a"]["b"][1] == 3
    assert torch.equal(saved["a"]["b"][0], torch.ones(2))
    assert rows == [{"epoch": epoch, "loss": 1 / epoch} for epoch in (1, 2, 3)]


def test_a_damaged_point_is_passed_over_with_a_line(
    points: Points, capsys: pytest.CaptureFixture[str]
) -> None:
    path = points.folder / "00003.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    saved, rows = points.newest()
    assert saved
    assert (saved["a"]["b"][1], len(rows)) == (2, 2)
    assert "00003.safetensors: damaged" in capsys.readouterr().out
    (points.folder / "00002.safetensors").write_bytes(b"")
    assert points.newest() == (None, [])


def test_another_number_of_threads_is_said(
    points: Points, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    points.newest()
    assert capsys.readouterr().out == ""
    monkeypatch.setattr("torch.get_num_threads", lambda: 7)
    points.newest()
    assert "this run began on torch" in capsys.readouterr().out


class Params(Section):
    seed: Seed
    other: int = 0


def test_points_of_other_params_or_inputs_are_never_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASO_SE_RESUME", str(tmp_path / "resume"))
    data = tmp_path / "prepare"
    data.mkdir()
    (data / "train").write_text("images")
    first = resume_points("search", Params(seed=1), data).folder
    assert first.parent == tmp_path / "resume"
    assert resume_points("search", Params(seed=1), data).folder == first
    assert resume_points("search", Params(seed=2), data).folder != first
    assert resume_points("warmup", Params(seed=1), data).folder != first
    (data / "train").write_text("others")
    assert resume_points("search", Params(seed=1), data).folder != first


def test_forgotten_runs_do_not_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASO_SE_RESUME", str(tmp_path))
    for seed in range(KEPT_RUNS + 3):
        resume_points("search", Params(seed=seed)).folder.mkdir()
    resume_points("search", Params(seed=99)).folder.mkdir()
    assert len(list(tmp_path.iterdir())) == KEPT_RUNS


def test_points_lie_with_the_project_wherever_dvc_runs_a_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("ASO_SE_RESUME", raising=False)
    folder = resume_points("search", Params(seed=1)).folder
    assert folder.parent == tmp_path / ".aso-se" / "resume"


def test_points_are_removed_when_the_stage_has_succeeded(points: Points) -> None:
    points.remove()
    assert not points.folder.exists()


def test_a_whole_file_that_is_no_point_is_passed_over(
    points: Points, capsys: pytest.CaptureFixture[str]
) -> None:
    path = points.folder / "00009.safetensors"
    path.write_bytes(encode({}, {"facts": {}}))
    _, rows = points.newest()
    assert len(rows) == 3
    assert capsys.readouterr().out.startswith(f"{path}: not a resume point: passed over")
