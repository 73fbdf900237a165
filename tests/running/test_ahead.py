"""What a run will do, known before it starts."""

import shutil
from pathlib import Path
from threading import Event

import pytest

from pipeline.running.ahead import Ahead, look_ahead
from tests.toy import STAGES, Toy

pytestmark = pytest.mark.xdist_group("toy")
ALL = Ahead(stages=dict.fromkeys(STAGES, 0))


def ahead(*targets: str, force: bool = False) -> Ahead:
    return look_ahead(Path.cwd(), targets, force=force, stop=Event())


def test_what_a_param_touches_is_ahead_as_far_as_it_is_asked_for(toy: Toy) -> None:
    assert ahead() == Ahead()
    toy.edit("arch_update_freq: 5", "arch_update_freq: 7")
    assert ahead() == ahead("export") == Ahead(stages={"search": 0, "export": 0})
    assert ahead("search") == Ahead(stages={"search": 0})
    assert ahead("warmup") == Ahead()
    assert toy.ran() == []


def test_a_forced_run_runs_all_and_needs_no_new_images(toy: Toy) -> None:
    assert ahead(force=True) == ALL
    assert ahead("warmup", force=True) == Ahead(stages={"prepare": 0, "warmup": 0})


def test_images_are_to_be_prepared_first_only_if_something_reads_them(toy: Toy) -> None:
    toy.edit("seed: 42", "seed: 43")
    assert ahead() == Ahead(stages=ALL.stages, prepares=True)
    assert ahead("prepare") == Ahead(stages={"prepare": 0})


def test_images_that_only_the_cache_has_are_restored_before_something_reads_them(toy: Toy) -> None:
    shutil.rmtree(toy.folder / "artifacts/prepare")
    assert ahead() == Ahead()
    toy.edit("arch_update_freq: 5", "arch_update_freq: 7")
    assert ahead() == Ahead(stages={"search": 0, "export": 0}, prepares=True)


def test_results_that_are_nowhere_are_ahead_and_those_in_the_cache_are_not(toy: Toy) -> None:
    shutil.rmtree(toy.folder / "artifacts/search")
    assert ahead() == Ahead()
    shutil.rmtree(toy.folder / ".dvc/cache")
    (toy.folder / ".dvc/cache").mkdir()
    assert "search" in ahead().stages


def test_epochs_of_an_interrupted_run_are_done_unless_a_param_of_the_stage_changed(
    toy: Toy,
) -> None:
    point = toy.folder / ".aso-se/resume/search-0123456789abcdef/00001.safetensors"
    point.parent.mkdir(parents=True)
    point.touch()
    toy.edit("seed: 42", "seed: 43")
    assert ahead().stages == {**ALL.stages, "search": 1}
    toy.edit("arch_update_freq: 5", "arch_update_freq: 7")
    assert ahead() == Ahead(stages=ALL.stages, prepares=True)


def test_what_dvc_refuses_is_left_to_its_own_words(toy: Toy) -> None:
    assert ahead("nothing") == Ahead()
    toy.edit("seed: 42", "seed: [")
    assert ahead() == Ahead()
