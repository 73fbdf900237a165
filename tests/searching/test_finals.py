"""Finalists compete by training; the supernet takes over the winner."""

from pathlib import Path

import pytest
import torch

from pipeline.deciding.decision import decide
from pipeline.searching.entering import reference
from pipeline.searching.equivalence import normal_form
from pipeline.searching.finals import hold
from pipeline.space.checkpoint import Checkpoint, write_checkpoint
from pipeline.space.registry import SPACES
from pipeline.training.loop import run
from pipeline.training.resume import Points
from tests.conftest import (
    context,
    of_space,
    random_logits,
    tiny_blueprint,
    tiny_network,
    write_supernet,
)
from tests.phases import finals, train


@pytest.mark.parametrize("finalists", [1, 2, 3, 4])
def test_the_better_half_stays_after_every_round(finalists: int, checkpoint: Path) -> None:
    phase = finals(checkpoint, finalists=finalists, finalist_epochs=2)
    state = phase.begin()
    rows = train(phase, state)
    assert len(state.finalists) == 1
    sizes = {1: [], 2: [2], 3: [3, 2], 4: [4, 2]}[finalists]
    assert len(rows) == phase.epochs == 2 * sum(sizes)
    left = set(range(finalists))
    for turn, size in enumerate(sizes, 1):
        own = [row for row in rows if row["round"] == turn]
        before, left = left, {int(row["finalist"]) for row in own}
        assert left <= before
        assert len(left) == size
        last = {int(row["finalist"]): float(row["validation_accuracy"]) for row in own}
    if sizes:
        assert state.finalists[0].accuracy == last[state.finalists[0].number]


def test_finalists_are_distinct_and_begin_with_the_weights_of_the_supernet(
    checkpoint: Path,
) -> None:
    phase = finals(checkpoint, finalists=4)
    begun = phase.begin()
    assert len({normal_form(one.genotype) for one in begun.finalists}) == 4
    weights = phase.searched.network.state_dict()
    for one in begun.finalists:
        for name, tensor in one.network.state_dict().items():
            assert torch.equal(tensor, weights[name])


def test_finalists_of_a_round_train_on_the_same_batches(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []
    phase = finals(checkpoint, finalists=2)
    begun = phase.begin()
    batches = type(phase.context).batches

    def watched(self: object, images: object, purpose: object) -> object:
        made = list(batches(self, images, purpose))  # type: ignore[arg-type]
        seen.append([int(image.sum()) for image, _ in made])
        return iter(made)

    monkeypatch.setattr(type(phase.context), "batches", watched)
    list(phase.train(begun, 1.0, []))
    assert len(seen) == 2
    assert seen[0] == seen[1]


@pytest.mark.parametrize("space", SPACES)
def test_the_supernet_takes_over_the_winner(
    space: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_supernet(
        tmp_path / "checkpoint.safetensors", tiny_network(tiny_blueprint(**of_space(space)))
    )
    phase = finals(path, finalists=2)
    points = Points("finalists", tmp_path / "points")
    outcome = hold(phase, points, before=0.5)
    state, _ = run(phase, points)
    [winner] = state.finalists
    supernet = phase.searched
    assert decide(supernet.logits, supernet.network.blueprint) == winner.genotype
    weights = supernet.network.state_dict()
    for name, tensor in winner.network.state_dict().items():
        assert torch.equal(tensor, weights[name])
    assert outcome.winner == winner.number
    assert {row["finalist"] for row in outcome.rows} == {0, 1}
    assert 0 <= outcome.accuracy <= 1


def test_a_resnet_is_always_among_the_finalists_of_the_residual_space(tmp_path: Path) -> None:
    blueprint = tiny_blueprint(**of_space("residual"))
    path = write_supernet(tmp_path / "checkpoint.safetensors", tiny_network(blueprint))
    known = reference(blueprint)
    assert known is not None
    for seed in range(3):
        phase = finals(path, context(seed=seed), finalists=3)
        found = [normal_form(one) for one in phase.entrants]
        assert found.count(normal_form(known)) == 1
        assert len(found) == 3


def test_a_resnet_that_would_run_what_failed_is_not_among_them(tmp_path: Path) -> None:
    blueprint = tiny_blueprint(**of_space("residual"))
    known = reference(blueprint)
    assert known is not None
    logits = random_logits(blueprint)
    logits[0, 0, blueprint.operations.index("basic_3x3")] = -torch.inf
    path, facts = tmp_path / "checkpoint.safetensors", {"epoch": 5}
    made = Checkpoint.of(tiny_network(blueprint), logits=logits, facts=facts)
    write_checkpoint(path, made)
    found = [normal_form(one) for one in finals(path, finalists=3).entrants]
    assert normal_form(known) not in found
    assert len(found) == 3


def test_a_space_without_a_well_known_network_adds_none() -> None:
    assert reference(tiny_blueprint()) is None


def test_other_seeds_draw_other_candidates(checkpoint: Path) -> None:
    entrants = [finals(checkpoint, context(seed=seed), finalists=4).entrants for seed in range(3)]
    assert len({tuple(map(normal_form, found)) for found in entrants}) > 1
