"""Growth is a transaction: it keeps the outputs, and comes back undone where it hurts."""

import gc
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from itertools import islice
from math import nan
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.alternating.params import SearchParams
from pipeline.batches.params import AugmentationParams
from pipeline.batches.randomness import generator
from pipeline.growing import grow
from pipeline.growing.grow import epochs, max_difference
from pipeline.growing.params import GrowthParams
from pipeline.growing.policy import Size
from pipeline.growing.state import Event, GrowthState, Recipe, resumed, start, summarize
from pipeline.growing.state import snapshot as growth_snapshot
from pipeline.harness.records import Row
from pipeline.searching.search import SearchState
from pipeline.space.checkpoint import Checkpoint
from pipeline.space.network import Network
from pipeline.space.params import NetworkParams
from pipeline.supernet.supernet import expected
from pipeline.training.loop import Phase
from pipeline.training.loop import run as run_phase
from pipeline.training.params import TrainingParams
from pipeline.training.resume import Points
from tests.conftest import (
    identical,
    random_images,
    scramble,
    search_images,
    snapshot,
    tiny,
    tiny_network,
)

IMAGES = search_images(training=16, validation=8)


def recipe(**changes: object) -> Recipe:
    return Recipe(
        network=tiny(NetworkParams),
        training=tiny(TrainingParams),
        augmentation=tiny(AugmentationParams),
        search=tiny(SearchParams),
        growth=tiny(GrowthParams, **changes),
    )


def begin(params: Recipe) -> GrowthState:
    logits = torch.randn(2, 5, 4, generator=generator(0, "logits"))
    facts = {"epoch": 7, "temperature": 0.5}
    checkpoint = Checkpoint(network=tiny_network(), logits=logits, facts=facts)
    return start(checkpoint, params, images=len(IMAGES.training))


def run(state: GrowthState, params: Recipe, seed: int = 0) -> Iterator[Row]:
    return epochs(state, IMAGES, params, seed)


def size(state: SearchState) -> int:
    return len(state.network.blueprint.cells)


def with_accuracy(
    monkeypatch: pytest.MonkeyPatch, accuracy: Callable[[SearchState], float]
) -> None:
    """Let epochs say what validation accuracy they like."""
    real = grow.alternate

    def told(state: SearchState, *args: Any, **rest: Any) -> Row:
        row = real(state, *args, **rest)
        return {**row, "train_loss": 1.0, "validation_accuracy": accuracy(state)}

    monkeypatch.setattr(grow, "alternate", told)


def whole_state(state: SearchState) -> dict[str, object]:
    """Return copies of all that a growth may touch."""
    adam = state.logit_optimizer
    return {
        "logits": state.logits.detach().clone(),
        "temperature": state.temperature,
        "steps": state.steps,
        "momentum": [buffer.clone() for buffer in state.optimizer.buffers],
        "adam": [moment.clone() for moment in (adam.mean, adam.square, adam.steps)],
    }


def test_growth_goes_on_from_where_search_ended() -> None:
    state = begin(recipe()).search
    assert (state.epoch, state.first_epoch, state.temperature) == (7, 7, 0.5)
    assert identical(snapshot(state.network), snapshot(tiny_network()))
    assert torch.equal(state.logits, torch.randn(2, 5, 4, generator=generator(0, "logits")))


def test_a_network_that_never_improves_enough_grows_in_turns_up_to_the_budget() -> None:
    params = recipe()
    state = begin(params)
    rows = list(run(state, params))
    deepened, widened = state.events
    assert [event.kind for event in state.events] == ["deepen", "widen"]
    assert [event.verdict for event in state.events] == ["accepted", "accepted"]
    assert (deepened.cells_before, deepened.cells, widened.cells) == (3, 4, 4)
    assert (widened.channels_before, widened.channels) == (4, 6)
    for event in state.events:
        assert event.parameters > event.parameters_before
        assert event.max_difference <= 1e-5
        assert 0 <= event.accuracy_after <= 1
    assert (rows[-1]["cells"], rows[-1]["channels"]) == (4, 6)
    assert [row["epoch"] for row in rows] == [8, 9, 10, 11, 12, 13]
    assert [bool(row["event"]) for row in rows] == [False, True, True, True, True, False]
    assert summarize(state.events) == {
        "growths_accepted": 2,
        "growths_rolled_back": 0,
        "growths_refused": 0,
        "growth_max_difference": max(event.max_difference for event in state.events),
    }


@pytest.mark.parametrize(("enough", "grows"), [(0.005, False), (0.05, True)])
def test_a_network_grows_where_it_does_not_improve_enough(
    enough: float, grows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_accuracy(monkeypatch, lambda state: 0.5 + 0.01 * state.epoch)
    params = recipe(min_improvement=enough, patience=1)
    state = begin(params)
    list(run(state, params))
    assert bool(state.events) == grows


@pytest.mark.parametrize("settle", [1, 2])
@pytest.mark.parametrize("after", [0.8, 0.3])
def test_a_growth_that_loses_what_was_learnt_is_rolled_back_and_the_phase_goes_on(
    settle: int, after: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with_accuracy(monkeypatch, lambda state: 1.0 if size(state) == 3 else after)
    params = recipe(settle=settle, patience=1, tolerance=0.02, kinds=("deepen",))
    phase = Phase(
        begin=lambda: begin(params),
        epochs=lambda state, slowdown: epochs(state, IMAGES, params, 0, slowdown),
        snapshot=growth_snapshot,
        resumed=partial(resumed, training=params.training, device=torch.device("cpu")),
    )
    blueprint = tiny_network().blueprint
    state, rows = run_phase(
        phase,
        Points("growth", tmp_path / "points"),
        epochs=params.growth.epochs,
        images=len(IMAGES.training),
        expected=expected(blueprint, IMAGES, before=1.0, accuracy=grow.KEPT_ACCURACY),
        max_recoveries=0,
    )
    assert [event.verdict for event in state.events] == ["rolled back"]
    assert state.events[0].accuracy_after == after
    assert [row["validation_accuracy"] for row in rows].count(after) == (
        settle if after > 0.7 else 1
    )
    assert size(state.search) == 3
    assert rows[-1]["health"] == 1.0


def test_every_growth_is_settled_when_the_stage_ends() -> None:
    params = recipe(epochs=5, settle=3, max_cells=99)
    state = begin(params)
    list(run(state, params))
    assert state.trial is None
    assert [event.verdict for event in state.events] == ["accepted"]


def test_a_growth_that_hurts_is_rolled_back_to_the_bit_identical_earlier_state() -> None:
    params = recipe(kinds=("deepen",), tolerance=0.0, max_cells=9)
    state = begin(params)
    rows = run(state, params)
    list(islice(rows, 2))
    assert state.trial is not None
    earlier = state.trial.state
    weights, rest = snapshot(earlier.network), whole_state(earlier)
    state.trial.accuracies[:] = [1.0, 1.0]  # no network keeps that on images of noise
    row = next(rows)
    assert row["event"] == "deepen rolled back"
    assert state.search is earlier
    assert identical(snapshot(earlier.network), weights)
    assert_same(whole_state(earlier), rest)
    assert earlier.epoch == row["epoch"]
    assert state.refused == {("deepen", Size(cells=3, channels=4))}
    assert state.events[0].verdict == "rolled back"
    after = list(rows)
    assert {row["cells"] for row in after} == {3}
    assert len(state.events) == 1


def assert_same(one: object, other: object) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_the_row_of_an_epoch_tells_of_a_roll_back_even_if_another_growth_follows_at_once() -> None:
    params = recipe(tolerance=0.0)
    state = begin(params)
    rows = run(state, params)
    list(islice(rows, 2))
    assert state.trial is not None
    state.trial.accuracies[:] = [1.0, 1.0]
    event = str(next(rows)["event"])
    assert [event.verdict for event in state.events] == ["rolled back", "settling"]
    assert "widen" in event
    assert "deepen rolled back" in event


def test_a_growth_that_does_not_keep_the_outputs_is_refused_and_not_tried_again() -> None:
    params = recipe(kinds=("deepen",))
    state = begin(params)
    with torch.no_grad():
        state.search.network.head.bias.fill_(nan)  # so that no difference is small enough
    state.accuracies = [0.5, 0.5]
    old = state.search
    happened = grow._try_to_grow(state, IMAGES, params, 0)
    assert happened.startswith("deepen refused")
    assert state.search is old
    assert state.trial is None
    assert [event.verdict for event in state.events] == ["refused"]
    assert grow._try_to_grow(state, IMAGES, params, 0) == ""
    assert summarize(state.events)["growths_refused"] == 1


def test_a_growth_for_which_memory_lacks_is_refused_and_search_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lack(*_: object) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(grow, "max_difference", lack)
    params = recipe(kinds=("deepen",))
    state = begin(params)
    rows = list(run(state, params))
    refused = [row["event"] for row in rows if row["event"]]
    assert refused == ["deepen refused: too little memory"]
    assert len(rows) == params.growth.epochs
    assert {row["cells"] for row in rows} == {3}
    assert state.trial is None
    [event] = state.events
    assert (event.verdict, event.max_difference) == ("refused", None)
    assert event.parameters > event.parameters_before
    assert summarize(state.events)["growths_refused"] == 1


def test_outputs_are_compared_on_as_many_images_as_memory_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compare, counts = grow.max_difference, []

    def compared(before: Network, after: Network, images: Tensor, logits: Tensor) -> float:
        counts.append(len(images))
        if len(images) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return compare(before, after, images, logits)

    monkeypatch.setattr(grow, "max_difference", compared)
    params = recipe(kinds=("deepen",))
    state = begin(params)
    list(run(state, params))
    assert counts[:3] == [8, 4, 2]
    assert [event.verdict for event in state.events][:1] == ["accepted"]


def test_another_error_of_a_growth_is_not_taken_for_lack_of_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> float:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(grow, "max_difference", fail)
    params = recipe(kinds=("deepen",))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        list(run(begin(params), params))


def test_the_difference_of_outputs_is_seen() -> None:
    network, other = scramble(tiny_network()), scramble(tiny_network())
    images = random_images(4).pixels.float()
    logits = torch.zeros(2, 5, 4)
    assert max_difference(network, other, images, logits) == 0
    with torch.no_grad():
        other.head.bias[1] += 0.25
    assert abs(max_difference(network, other, images, logits) - 0.25) < 1e-6
    assert network.training
    assert next(network.parameters()).dtype == torch.float32


def test_growth_that_was_broken_off_after_any_epoch_goes_on_to_the_same_bytes() -> None:
    params = recipe(epochs=4)
    whole = begin(params)
    rows = list(run(whole, params))
    for most in (2, 3):  # a growth on trial, and one that was accepted
        parts = begin(params)
        assert [*islice(run(parts, params), most), *run(parts, params)] == rows
        assert identical(snapshot(parts.search.network), snapshot(whole.search.network))
        assert torch.equal(parts.search.logits, whole.search.logits)
        assert [asdict(e) for e in parts.events] == [asdict(e) for e in whole.events]


def test_equal_seeds_give_equal_bytes_and_others_do_not() -> None:
    params = recipe(epochs=3)
    states = [begin(params) for _ in range(3)]
    for state, seed in zip(states, (0, 0, 1), strict=True):
        list(run(state, params, seed))
    first, again, other = (snapshot(state.search.network) for state in states)
    assert identical(first, again)
    assert first.keys() == other.keys()
    assert not identical(first, other)


def test_a_stage_without_growth_sums_up_to_nothing() -> None:
    events: list[Event] = []
    assert set(summarize(events).values()) == {0}


def test_growths_and_roll_backs_leave_no_tensor_behind() -> None:
    def tensors_after_a_stage(tolerance: float) -> int:
        params = recipe(tolerance=tolerance, epochs=4)
        rows = list(run(begin(params), params))
        assert any("accepted" in row["event"] or "rolled" in row["event"] for row in rows)
        gc.collect()
        return sum(issubclass(type(one), Tensor) for one in gc.get_objects())

    for tolerance in (0.99, 0.0):
        tensors_after_a_stage(tolerance)  # what is made once and kept
        assert tensors_after_a_stage(tolerance) == tensors_after_a_stage(tolerance)
