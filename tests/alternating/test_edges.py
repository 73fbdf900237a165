"""What edges prefer is recorded after every epoch, and agrees with the history."""

from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.alternating import edges
from pipeline.deciding.decision import DECIDED
from pipeline.harness.records import Row
from pipeline.referencing.passes import epochs_of_all_passes
from pipeline.summaries.summary import image_passes
from pipeline.training.loop import run
from pipeline.training.resume import Points
from tests.conftest import tiny_blueprint
from tests.phases import PHASES, searching, train

PATHS = st.lists(st.lists(st.integers(0, 3), min_size=2, max_size=2), min_size=1, max_size=9)


def active(*paths: list[int]) -> list[edges.Active]:
    """Return paths of one architecture, each a list with the operation of every edge."""
    return [(tuple((operation,) for operation in path),) for path in paths]


def test_paths_that_are_all_alike_have_no_diversity_and_even_ones_have_all_of_it() -> None:
    assert edges.diversity(active([0, 1], [0, 1]), 4) == 0
    assert edges.diversity(active(*([one, 3 - one] for one in range(4))), 4) == pytest.approx(1)
    assert edges.diversity(active([0, 0], [0, 1]), 4) == pytest.approx(1 / 4)
    assert edges.diversity([(((), (0, 1)),)], 4) == pytest.approx(1 / 4)  # nothing; a mixture


@given(PATHS)
def test_diversity_is_a_fraction_and_does_not_depend_on_the_order(paths: list[list[int]]) -> None:
    found = edges.diversity(active(*paths), 4)
    assert 0 <= found <= 1 + 1e-12
    assert edges.diversity(active(*reversed(paths)), 4) == pytest.approx(found)


def test_a_change_is_another_likeliest_operation_on_an_edge_that_both_have() -> None:
    before, after = torch.zeros(1, 2, 3), torch.zeros(2, 5, 3)
    before[..., 0] = after[..., 0] = 1.0
    assert edges.changes(before, after) == edges.changes(after, before) == 0
    after[0, 1, 2] = 2.0
    after[1] = after[0, 4] = torch.tensor([0.0, 5.0, 0.0])
    assert edges.changes(before, after) == edges.changes(after, before) == 1


def test_edges_of_a_node_that_growth_added_are_named_as_in_the_grown_network() -> None:
    small, grown = tiny_blueprint(nodes=2), tiny_blueprint(nodes=3)
    seen = [torch.full((2, len(one.edges), 4), 0.25) for one in (small, grown, small)]
    for blueprint in (small, grown):  # the growth is rolled back, or not
        rows = list(edges.rows(seen, blueprint, last=9))
        for epoch, right in ((7, small), (8, grown), (9, small)):
            found = [(row["source"], row["node"]) for row in rows if row["epoch"] == epoch]
            assert found == [*right.edges] * 2


@pytest.mark.parametrize(
    "name",
    [
        "search",
        "search of mixtures",
        "search along the likely path",
        "growth that is rolled back",
        "growth of all kinds",
    ],
)
def test_rows_of_edges_agree_with_the_history(name: str, checkpoint: Path) -> None:
    phase = PHASES[name](checkpoint)
    state: Any = phase.begin()
    history = train(phase, state)
    searched = getattr(state, "search", state)
    blueprint = searched.network.blueprint
    by_epoch: dict[Any, list[Row]] = defaultdict(list)
    for row in edges.rows(searched.seen, blueprint, last=searched.epoch):
        by_epoch[row["epoch"]].append(row)
    assert list(by_epoch) == [row["epoch"] for row in history]
    likely: dict[Any, int] = {}
    for row in history:
        found = by_epoch[row["epoch"]]
        columns = [f"weight_{operation}" for operation in blueprint.operations]
        weights = torch.tensor([[float(one[column]) for column in columns] for one in found])
        assert torch.allclose(weights.sum(1), torch.ones(len(found)))
        entropies = torch.tensor([float(one["entropy"]) for one in found])
        assert float(entropies.mean()) == pytest.approx(row["entropy"], abs=1e-6)
        assert float(weights.amax(1).mean()) == pytest.approx(row["max_weight"], abs=1e-6)
        assert int((weights.amax(1) < DECIDED).sum()) == row["undecided_edges"]
        assert 0 <= float(row["path_diversity"]) <= 1
        names = [(one["architecture"], one["source"], one["node"]) for one in found]
        before, likely = likely, dict(zip(names, weights.argmax(1).tolist(), strict=True))
        if before:
            changed = sum(likely[edge] != before[edge] for edge in likely.keys() & before.keys())
            assert changed == row["genotype_changes"]


def test_a_rolled_back_growth_leaves_the_edges_of_its_epochs(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    state, history = run(
        PHASES["growth that is rolled back"](checkpoint), Points("growth", tmp_path / "points")
    )
    assert "rolled back" in {event.verdict for event in state.events}
    assert len(state.search.seen) == len(history)


def test_image_passes_are_those_that_a_reference_of_all_passes_makes(checkpoint: Path) -> None:
    phase = searching(checkpoint, arch_update_freq=3, arch_gradient="score", arch_paths=6, epochs=4)
    images = len(phase.context.images)
    counted = image_passes(train(phase, phase.begin()))

    none: Any = SimpleNamespace(epochs=0)
    params: Any = phase.params
    expected = epochs_of_all_passes(none, params, none, none, searched=images, trained=images)
    assert counted == expected * images == 2 * 4 * images
