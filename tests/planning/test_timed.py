"""Short epochs: how many steps they make, and that nothing learns in them."""

from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch

from pipeline.planning.timed import QUICK, STILL, THOROUGH, Sample, TimedContext, time_phase
from pipeline.training.loop import Phase
from tests.conftest import context, identical
from tests.phases import optimizing, searching, warming

ZERO = torch.zeros(())
Make = Callable[[Path, Any], Phase[Any]]
KINDS: dict[str, Make] = {
    "warmup": lambda _, given: warming(given, epochs=3),
    "search": lambda path, given: searching(path, given, epochs=3),
    "optimize": lambda path, given: optimizing(path, given, epochs=3),
}


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest, checkpoint: Path) -> Callable[[TimedContext], Phase[Any]]:
    """Function from a context to a phase."""
    return lambda given: KINDS[request.param](checkpoint, given)


@pytest.mark.parametrize("sample", [THOROUGH, QUICK])
def test_an_epoch_ends_after_a_few_steps(
    make: Callable[[TimedContext], Phase[Any]], sample: Sample
) -> None:
    timing = time_phase(make, context(8 * (sample.steps + 5), 16), sample)
    assert (timing.uncounted, len(timing.steps)) == (sample.start_steps, 2 * sample.steps)
    assert min(*timing.steps, timing.evaluation) > 0


def test_an_epoch_of_fewer_steps_is_run_to_its_end(
    make: Callable[[TimedContext], Phase[Any]],
) -> None:
    timing = time_phase(make, context(8, 16), THOROUGH)
    assert (timing.uncounted, len(timing.steps)) == (1, 2)


def test_a_forecast_leaves_out_what_other_work_on_the_machine_slowed() -> None:
    steps = [0.300, 0.028, 0.022, 1.446, 4.240, 0.021]
    assert QUICK.typical(steps) == 0.022
    assert THOROUGH.typical(steps) == median(steps)
    assert QUICK.typical([0.010, 0.012, 0.019]) == 0.012


def test_an_evaluation_on_all_images_is_extrapolated_from_few() -> None:
    quiet = [(0.9, 128), (0.3, 128), (0.4, 256)]
    assert THOROUGH.evaluation(quiet, 1280) == pytest.approx(0.3 + 9 * 0.1)
    assert QUICK.evaluation(quiet, 1280) == pytest.approx(0.3 + 9 * 0.1)
    slowed = [(0.2, 128), (0.2, 128), (9.0, 256)]
    assert THOROUGH.evaluation(slowed, 1280) == pytest.approx(0.2 + 9 * 8.8)
    assert QUICK.evaluation(slowed, 1280) == pytest.approx(10 * 0.2)
    assert QUICK.evaluation(slowed, 100) == 0.2


def test_nothing_learns_while_it_is_timed(make: Callable[[Any], Phase[Any]]) -> None:
    phase = make(context())
    state, fresh = phase.begin(), phase.begin()
    next(phase.train(state, STILL, ()))
    learnt = dict(state.network.named_parameters())
    assert identical(learnt, dict(fresh.network.named_parameters()))
    assert torch.equal(getattr(state, "logits", ZERO), getattr(fresh, "logits", ZERO))
