"""Growth is a transaction: it keeps the outputs, and is undone if accuracy falls."""

import gc
from collections.abc import Callable
from dataclasses import replace
from math import nan
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.alternating.alternation import Alternation
from pipeline.alternating.state import SearchState
from pipeline.events.event import Kind
from pipeline.growing import grow
from pipeline.growing.grow import KEPT_ACCURACY, Growth
from pipeline.growing.policy import Size
from pipeline.growing.state import GrowthState, summarize
from pipeline.harness.errors import ParamsError
from pipeline.harness.records import Row
from pipeline.space.blueprint import Blueprint
from pipeline.space.checkpoint import read_checkpoint
from pipeline.space.network import Network
from pipeline.supernet.supernet import expected
from pipeline.targeting.budget import Budget
from pipeline.training.loop import run
from pipeline.training.resume import Points
from tests.conftest import context, identical, snapshot
from tests.phases import growing, train

IMAGES = context(16, 8)


def small(checkpoint: Path, **changes: object) -> tuple[Growth, GrowthState]:
    """Return a growth on few images, and its first state."""
    phase = growing(checkpoint, IMAGES, **changes)
    return phase, phase.begin()


def cells(state: SearchState) -> int:
    return len(state.network.blueprint.cells)


def with_accuracy(
    monkeypatch: pytest.MonkeyPatch, accuracy: Callable[[SearchState], float]
) -> None:
    """Replace the validation accuracy of epochs by a function of the state."""
    real = Alternation.run

    def told(self: Alternation, state: SearchState, *args: Any, **rest: Any) -> Row:
        row = real(self, state, *args, **rest)
        return {**row, "train_loss": 1.0, "validation_accuracy": accuracy(state)}

    monkeypatch.setattr(Alternation, "run", told)


def whole_state(state: SearchState) -> dict[str, object]:
    """Return copies of everything that a growth may change."""
    adam = state.logit_optimizer
    return {
        "logits": state.logits.detach().clone(),
        "temperature": state.temperature,
        "steps": state.steps,
        "momentum": [buffer.clone() for buffer in state.optimizer.buffers],
        "adam": [moment.clone() for moment in (adam.mean, adam.square, adam.steps)],
    }


def test_growth_goes_on_from_where_search_ended(checkpoint: Path) -> None:
    state, searched = growing(checkpoint).begin().search, read_checkpoint(checkpoint)
    assert (state.epoch, state.first_epoch, state.temperature) == (5, 5, 0.5)
    assert identical(snapshot(state.network), snapshot(searched.network))
    assert torch.equal(state.logits, searched.searched())


def test_a_network_that_never_improves_enough_grows_in_turns_up_to_the_budget(
    checkpoint: Path,
) -> None:
    phase, state = small(checkpoint)
    rows = train(phase, state)
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
    assert [row["epoch"] for row in rows] == [6, 7, 8, 9, 10, 11]
    assert [bool(row["event"]) for row in rows] == [False, True, True, True, True, False]
    assert summarize(state.events) == {
        "growths_accepted": 2,
        "growths_rolled_back": 0,
        "growths_refused": 0,
        "growth_max_difference": max(event.max_difference for event in state.events),
    }


@pytest.mark.parametrize(("enough", "grows"), [(0.005, False), (0.05, True)])
def test_a_network_grows_where_it_does_not_improve_enough(
    enough: float, grows: bool, monkeypatch: pytest.MonkeyPatch, checkpoint: Path
) -> None:
    with_accuracy(monkeypatch, lambda state: 0.5 + 0.01 * state.epoch)
    phase, state = small(checkpoint, min_improvement=enough, patience=1)
    train(phase, state)
    assert bool(state.events) == grows


@pytest.mark.parametrize("settle", [1, 2])
@pytest.mark.parametrize("after", [0.8, 0.3])
def test_a_growth_that_loses_what_was_learnt_is_rolled_back_and_the_phase_goes_on(
    settle: int,
    after: float,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with_accuracy(monkeypatch, lambda state: 1.0 if cells(state) == 3 else after)
    given = context(16, 8, max_recoveries=0)
    phase = growing(checkpoint, given, settle=settle, tolerance=0.02, kinds=("deepen",))
    blueprint = read_checkpoint(checkpoint).network.blueprint
    before = expected(blueprint, given, before=1.0, accuracy=KEPT_ACCURACY)
    state, rows = run(replace(phase, expected=before), Points("growth", tmp_path / "points"))
    assert [event.verdict for event in state.events] == ["rolled back"]
    assert state.events[0].accuracy_after == after
    assert [row["validation_accuracy"] for row in rows].count(after) == (
        settle if after > 0.7 else 1
    )
    assert cells(state.search) == 3
    assert rows[-1]["health"] == 1.0


def test_every_growth_is_settled_when_the_stage_ends(checkpoint: Path) -> None:
    phase, state = small(checkpoint, epochs=5, settle=3, max_cells=99)
    train(phase, state)
    assert state.trial is None
    assert [event.verdict for event in state.events] == ["accepted"]


def test_a_growth_that_hurts_is_rolled_back_to_the_bit_identical_earlier_state(
    checkpoint: Path,
) -> None:
    phase, state = small(checkpoint, kinds=("deepen",), tolerance=0.0, max_cells=9)
    rows = train(phase, state, most=2)
    assert state.trial is not None
    earlier = state.trial.state
    weights, rest = snapshot(earlier.network), whole_state(earlier)
    state.trial.accuracies[:] = [1.0, 1.0]  # no network keeps that on images of noise
    [row] = train(phase, state, most=1, done=rows)
    assert row["event"] == "deepen rolled back"
    assert state.search is earlier
    assert identical(snapshot(earlier.network), weights)
    assert_same(whole_state(earlier), rest)
    assert earlier.epoch == row["epoch"]
    assert state.refused == {("deepen", Size(cells=3, channels=4, nodes=2))}
    assert state.events[0].verdict == "rolled back"
    after = train(phase, state, done=[*rows, row])
    assert {row["cells"] for row in after} == {3}
    assert len(state.events) == 1


def assert_same(one: object, other: object) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_the_row_of_an_epoch_tells_of_a_roll_back_even_if_another_growth_follows_at_once(
    checkpoint: Path,
) -> None:
    phase, state = small(checkpoint, tolerance=0.0)
    rows = train(phase, state, most=2)
    assert state.trial is not None
    state.trial.accuracies[:] = [1.0, 1.0]
    [row] = train(phase, state, most=1, done=rows)
    event = str(row["event"])
    assert [event.verdict for event in state.events] == ["rolled back", "settling"]
    assert "widen" in event
    assert "deepen rolled back" in event


def test_a_growth_that_does_not_keep_the_outputs_is_refused_and_not_tried_again(
    checkpoint: Path,
) -> None:
    phase, state = small(checkpoint, kinds=("deepen",))
    with torch.no_grad():
        state.search.network.head.bias.fill_(nan)  # so that no difference is small enough
    state.accuracies = [0.5, 0.5]
    old = state.search
    happened = phase._try_to_grow(state, 9)
    assert happened.startswith("deepen refused")
    assert state.search is old
    assert state.trial is None
    assert [event.verdict for event in state.events] == ["refused"]
    assert phase._try_to_grow(state, 9) == ""
    assert summarize(state.events)["growths_refused"] == 1


def test_a_growth_for_which_memory_lacks_is_refused_and_search_goes_on(
    monkeypatch: pytest.MonkeyPatch, checkpoint: Path
) -> None:
    def lack(*_: object) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(grow, "max_difference", lack)
    phase, state = small(checkpoint, kinds=("deepen",))
    rows = train(phase, state)
    refused = [row["event"] for row in rows if row["event"]]
    assert refused == ["deepen refused: too little memory"]
    assert len(rows) == phase.epochs
    assert {row["cells"] for row in rows} == {3}
    assert state.trial is None
    [event] = state.events
    assert (event.verdict, event.max_difference) == ("refused", None)
    assert event.parameters > event.parameters_before
    assert summarize(state.events)["growths_refused"] == 1


def test_outputs_are_compared_on_as_many_images_as_memory_allows(
    monkeypatch: pytest.MonkeyPatch, checkpoint: Path
) -> None:
    compare, counts = grow.max_difference, []

    def compared(before: Network, after: Network, images: Tensor, logits: Tensor) -> float:
        counts.append(len(images))
        if len(images) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return compare(before, after, images, logits)

    monkeypatch.setattr(grow, "max_difference", compared)
    phase, state = small(checkpoint, kinds=("deepen",))
    train(phase, state)
    assert counts[:3] == [8, 4, 2]
    assert [event.verdict for event in state.events][:1] == ["accepted"]


def test_another_error_of_a_growth_is_not_taken_for_lack_of_memory(
    monkeypatch: pytest.MonkeyPatch, checkpoint: Path
) -> None:
    def fail(*_: object) -> float:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(grow, "max_difference", fail)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train(*small(checkpoint, kinds=("deepen",)))


def test_equal_seeds_give_equal_bytes_and_others_do_not(checkpoint: Path) -> None:
    networks = []
    for seed in (0, 0, 1):
        phase = growing(checkpoint, context(16, 8, seed=seed), epochs=3)
        state = phase.begin()
        train(phase, state)
        networks.append(snapshot(state.search.network))
    first, again, other = networks
    assert identical(first, again)
    assert first.keys() == other.keys()
    assert not identical(first, other)


def test_a_stage_without_growth_sums_up_to_nothing() -> None:
    assert set(summarize([]).values()) == {0}


def test_growths_and_roll_backs_leave_no_tensor_behind(checkpoint: Path) -> None:
    def tensors_after_a_stage(tolerance: float) -> int:
        rows = train(*small(checkpoint, tolerance=tolerance, epochs=4))
        assert any("accepted" in row["event"] or "rolled" in row["event"] for row in rows)
        gc.collect()
        return sum(issubclass(type(one), Tensor) for one in gc.get_objects())

    for tolerance in (0.99, 0.0):
        tensors_after_a_stage(tolerance)  # what is made once and kept
        assert tensors_after_a_stage(tolerance) == tensors_after_a_stage(tolerance)


@pytest.mark.parametrize("kind", ["node", "mutate"])
def test_a_node_and_a_mutation_are_accepted_or_rolled_back_as_other_growths_are(
    kind: Kind, checkpoint: Path
) -> None:
    phase, state = small(checkpoint, kinds=(kind,), max_nodes=3)
    before = whole_state(state.search)
    train(phase, state, most=2)
    [event] = state.events
    assert event.max_difference <= 1e-5
    assert (event.nodes_before, event.nodes) == ((2, 3) if kind == "node" else (2, 2))
    assert event.mutated == (0 if kind == "node" else 5)  # half of the edges of two cells
    assert state.trial is not None
    hurt = phase.resumed(phase.snapshot(state))
    train(phase, state, most=1)
    assert event.verdict == "accepted"
    assert state.search.network.blueprint.nodes == event.nodes

    assert hurt.trial is not None
    hurt.trial.accuracies[:] = hurt.trial.genotypes[:] = [1.0, 1.0]
    tight = replace(phase, params=phase.params.model_copy(update={"tolerance": 0.0}))
    train(tight, hurt, most=1)
    assert hurt.events[0].verdict == "rolled back"
    assert hurt.search.network.blueprint.nodes == 2
    assert hurt.search.logits.shape == before["logits"].shape  # type: ignore[attr-defined]


def test_the_logits_of_a_mutation_are_nearly_uniform_on_half_of_the_edges(checkpoint: Path) -> None:
    phase, state = small(checkpoint, kinds=("mutate",))
    train(phase, state, most=1)
    with torch.no_grad():
        state.search.logits.copy_(20 * torch.eye(4)[torch.arange(10) % 4].view(2, 5, 4))
    state.accuracies = [0.5, 0.5]
    assert phase._try_to_grow(state, 9) == "mutate: 5 edges"
    largest = state.search.logits.softmax(-1).amax(-1)
    assert ((largest < 0.9).sum(), (largest > 0.99).sum()) == (5, 5)


def test_a_mutation_is_judged_by_the_most_likely_network_not_by_sampled_paths(
    checkpoint: Path,
) -> None:
    phase, state = small(checkpoint, kinds=("mutate",), tolerance=0.1)
    train(phase, state, most=2)
    assert state.trial is not None
    state.trial.accuracies[:] = [0.9, 0.9]
    state.trial.genotypes[:] = [0.5, 0.5]
    state.accuracies[:], state.genotypes[:] = [0.7], [0.5]
    assert phase._settle(state, 9) == "mutate accepted"


def test_an_accepted_growth_reopens_the_search_and_accuracy_closes_it(
    monkeypatch: pytest.MonkeyPatch, checkpoint: Path
) -> None:
    seen: list[float] = []
    real = Alternation.run

    def told(self: Alternation, state: SearchState, *args: Any, **rest: Any) -> Row:
        seen.append(rest["exploring"])
        row = real(self, state, *args, **rest)
        accuracy = 0.5 + 0.01 * len(seen)  # every epoch improves, but not enough
        return {**row, "train_loss": 1.0, "validation_accuracy": accuracy}

    monkeypatch.setattr(Alternation, "run", told)
    phase, state = small(
        checkpoint, kinds=("deepen",), explore=0.5, epochs=8, max_cells=4, min_improvement=0.9
    )
    rows = train(phase, state)
    opened = [number for number, row in enumerate(rows) if "search reopened" in str(row["event"])]
    first = opened[0]
    assert seen[: first + 1] == [0.0] * (first + 1)
    assert seen[first + 1 : first + 3] == [0.5, 0.25]
    assert seen[-1] == 0.0
    entropies = [float(row["entropy"]) for row in rows]
    assert entropies[first + 1] > entropies[first]


def test_cycles_of_growth_and_of_reopened_search_follow_each_other(checkpoint: Path) -> None:
    phase, state = small(checkpoint, explore=0.5, epochs=9)
    rows = train(phase, state)
    grown = [number for number, row in enumerate(rows) if ": " in str(row["event"])]
    opened = [number for number, row in enumerate(rows) if "reopened" in str(row["event"])]
    assert [event.kind for event in state.events] == ["deepen", "widen"]
    assert grown[0] < opened[0] < grown[1] < opened[1]
    for number in opened:
        assert rows[number + 1]["entropy"] > rows[number]["entropy"]
    assert (rows[-1]["cells"], rows[-1]["channels"]) == (4, 6)


def test_without_explore_nothing_is_reopened(checkpoint: Path) -> None:
    phase, state = small(checkpoint, explore=0.0)
    rows = train(phase, state)
    assert not any("reopened" in str(row["event"]) for row in rows)
    assert state.exploring == 0.0


def test_a_growth_that_no_price_brings_to_the_target_is_refused(
    monkeypatch: pytest.MonkeyPatch, checkpoint: Path
) -> None:
    phase, state = small(checkpoint, kinds=("deepen",))

    def refuse(self: Budget, logits: Tensor, blueprint: Blueprint) -> None:
        raise ParamsError("target.parameters: 1 cannot be met")

    monkeypatch.setattr(Budget, "fit", refuse)
    state.accuracies = [0.5, 0.5]
    assert phase._try_to_grow(state, 9) == "deepen refused: target.parameters: 1 cannot be met"
    assert state.events[0].verdict == "refused"
    assert state.trial is None
