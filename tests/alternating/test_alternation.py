"""Search alternates: weights on training images, the architecture on validation images."""

from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.alternating.alternation import Alternation
from pipeline.alternating.params import SearchParams
from pipeline.alternating.state import architecture_steps
from pipeline.batches.randomness import generator
from pipeline.deciding.decision import decide
from pipeline.space.registry import SPACES
from pipeline.space.relaxation import EdgeWeights, genotype_weights
from tests.conftest import (
    context,
    identical,
    of_space,
    snapshot,
    tiny,
    tiny_blueprint,
    tiny_network,
    write_supernet,
)
from tests.phases import PLAIN, architecture_step, searching, train


@pytest.mark.parametrize("sampling", ["hard", "likely", "soft"])
def test_weight_steps_leave_the_logits_bit_identical(sampling: str, checkpoint: Path) -> None:
    phase = searching(checkpoint, arch_update_freq=1000, sampling=sampling)
    state = phase.begin()
    weights, logits = snapshot(state.network), state.logits.detach().clone()
    train(phase, state)
    assert torch.equal(state.logits, logits)
    assert state.temperature == phase.params.temperature
    assert not identical(snapshot(state.network), weights)


@pytest.mark.parametrize("sampling", ["hard", "likely", "soft"])
def test_an_architecture_step_changes_the_logits_and_no_bit_of_the_weights(
    sampling: str, checkpoint: Path
) -> None:
    phase = searching(checkpoint, sampling=sampling)
    state = phase.begin()
    weights, logits = snapshot(state.network), state.logits.detach().clone()
    momentum = [buffer.clone() for buffer in state.optimizer.buffers]
    architecture_step(phase, state)
    assert not torch.equal(state.logits, logits)
    assert identical(snapshot(state.network), weights)
    assert all(parameter.grad is None for parameter in state.network.parameters())
    assert all(map(torch.equal, state.optimizer.buffers, momentum))


def test_a_slowdown_is_a_factor_on_how_far_the_logits_move(checkpoint: Path) -> None:
    moved = []
    for slowdown in (1.0, 0.25):
        phase = searching(checkpoint, replace(context(), slowdown=slowdown))
        state = phase.begin()
        before = state.logits.detach().clone()
        architecture_step(phase, state)
        moved.append(state.logits.detach() - before)
    torch.testing.assert_close(moved[1], moved[0] / 4, rtol=1e-3, atol=1e-6)


def test_an_architecture_step_whose_path_is_cut_everywhere_moves_nothing(checkpoint: Path) -> None:
    phase = searching(checkpoint)
    state = phase.begin()
    with torch.no_grad():
        state.logits[..., state.network.blueprint.none] = 50.0
    logits = state.logits.detach().clone()
    architecture_step(phase, state)
    assert torch.equal(state.logits, logits)


@pytest.mark.parametrize(
    ("training", "frequency"),
    [(24, 2), (24, 3), (24, 5), (20, 3), (17, 4), (24, 8)],  # 20: a ragged batch; 17: 8 and 9
)
def test_one_architecture_step_follows_every_so_many_weight_steps_across_epochs(
    training: int, frequency: int, checkpoint: Path
) -> None:
    phase = searching(
        checkpoint,
        context(training, 10),
        epochs=3,
        arch_update_freq=frequency,
        anneal_rate=0.5,
        temperature_end=1e-6,
    )
    state = phase.begin()
    train(phase, state)
    expected = architecture_steps(training, 8, 3, frequency)
    assert state.temperature == 2.0 * 0.5**expected
    assert state.steps == 3 * (2 if training == 17 else 3)


@dataclass
class Recorder:
    """Remembers the images of each pass, by whether the logits or the weights learn from it."""

    weight_steps: list[Tensor] = field(default_factory=list)
    architecture_steps: list[Tensor] = field(default_factory=list)
    paths: list[EdgeWeights] = field(default_factory=list)

    def __call__(self, _: nn.Module, arguments: tuple[Any, ...]) -> None:
        batch, *rest = arguments
        if rest and isinstance(rest[0], EdgeWeights) and torch.is_grad_enabled():
            gates = rest[0].gates
            (self.weight_steps if gates is None else self.architecture_steps).append(batch)
            self.paths.append(rest[0])


def test_weights_learn_from_training_images_and_the_architecture_from_validation_images(
    checkpoint: Path,
) -> None:
    given = context(20, 12, augmentation=PLAIN)
    dark = given.images
    dark.pixels.clamp_(max=100)
    given.validation.pixels.clamp_(min=150)
    phase = searching(checkpoint, given)
    state, recorder = phase.begin(), Recorder()
    state.network.register_forward_pre_hook(recorder)
    train(phase, state)
    border = (torch.tensor([125 / 255] * 3) - dark.mean) / dark.std
    assert len(recorder.weight_steps) == 6
    assert len(recorder.architecture_steps) == architecture_steps(20, 8, 2, 3)
    assert all((batch < border[:, None, None]).all() for batch in recorder.weight_steps)
    assert all((batch > border[:, None, None]).all() for batch in recorder.architecture_steps)


def test_validation_images_are_all_used_before_one_comes_again(checkpoint: Path) -> None:
    given = context(48, 12, augmentation=PLAIN)
    phase = searching(checkpoint, given, epochs=1, arch_update_freq=2)
    state, recorder = phase.begin(), Recorder()
    state.network.register_forward_pre_hook(recorder)
    train(phase, state)
    sizes = [len(batch) for batch in recorder.architecture_steps]
    assert sizes == [8, 4, 8, 4, 8, 4]
    for first, second in pairwise(recorder.architecture_steps):
        if len(first) == 8:
            assert len(torch.cat([first, second]).unique(dim=0)) == 12


@pytest.mark.parametrize(("frequency", "steps"), [(3, 9), (1000, 6)])
def test_every_step_draws_a_path_of_its_own_and_another_seed_other_paths(
    frequency: int, steps: int, checkpoint: Path
) -> None:
    recorder = Recorder()
    for seed in (0, 1):
        state = searching(checkpoint).begin()
        state.network.register_forward_pre_hook(recorder)
        train(searching(checkpoint, context(seed=seed), arch_update_freq=frequency), state)
    drawn = [path.active for path in recorder.paths]
    assert len(drawn) == 2 * steps
    assert len(set(drawn)) == len(drawn)


def test_equal_seeds_give_equal_bytes_and_others_do_not(checkpoint: Path) -> None:
    states, rows = [], []
    for seed in (0, 0, 1):
        phase = searching(checkpoint, context(seed=seed))
        states.append(phase.begin())
        rows.append(train(phase, states[-1]))
    first, again, other = states
    assert rows[0] == rows[1]
    assert [row["epoch"] for row in rows[0]] == [6, 7]
    assert identical(snapshot(first.network), snapshot(again.network))
    assert torch.equal(first.logits, again.logits)
    assert not identical(snapshot(first.network), snapshot(other.network))
    assert not torch.equal(first.logits, other.logits)


@pytest.mark.parametrize("explore", [0.0, 1.0])
def test_weight_steps_explore_less_and_less_as_search_goes_on(
    explore: float, checkpoint: Path
) -> None:
    phase = searching(checkpoint, context(160), epochs=4, arch_update_freq=1000, explore=explore)
    state, recorder = phase.begin(), Recorder()
    blueprint = state.network.blueprint
    with torch.no_grad():  # so that every draw is certain
        state.logits[..., blueprint.skip] += 60.0
    state.network.register_forward_pre_hook(recorder)
    train(phase, state)
    edges = [edge for path in recorder.paths for edge in path.active[0]]
    quarter = len(edges) // 4
    shares = [
        sum(edge != (blueprint.skip,) for edge in edges[quarter * epoch : quarter * (epoch + 1)])
        / quarter
        for epoch in range(4)
    ]
    if explore:
        others = 1 - 1 / (len(blueprint.operations) - 1)
        wanted = [others * probability for probability in (1.0, 0.75, 0.5, 0.25)]
        assert shares == pytest.approx(wanted, abs=0.12)
    else:
        assert shares == [0.0] * 4


@pytest.mark.parametrize("sampling", ["hard", "likely", "soft"])
def test_the_auxiliary_skip_fades_evenly_in_every_step_of_search(
    sampling: str, checkpoint: Path
) -> None:
    given = context(16, 16, auxiliary_skip=0.8)
    phase = searching(checkpoint, given, epochs=4, arch_update_freq=2, sampling=sampling)
    state = phase.begin()
    weights: list[float] = []

    def note(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        if len(arguments) > 1 and arguments[1] is not None:
            weights.append(arguments[1].auxiliary)

    state.network.register_forward_pre_hook(note)
    train(phase, state)
    assert len(weights) >= 16
    assert weights == pytest.approx(
        [strength for strength in (0.8, 0.6, 0.4, 0.2) for _ in range(len(weights) // 4)]
    )


@pytest.mark.parametrize("space", SPACES)
def test_the_likely_path_is_that_of_the_genotype_and_some_edges_explore(
    space: str, tmp_path: Path
) -> None:
    path = write_supernet(tmp_path / "supernet", tiny_network(tiny_blueprint(**of_space(space))))
    phase = searching(path, sampling="likely", explore=0.5)
    state = phase.begin()
    alternation = Alternation(context=phase.context, params=phase.params)
    blueprint = state.network.blueprint
    genotype = genotype_weights(decide(state.logits, blueprint), blueprint)
    assert alternation.draw(state, 0.0, generator(0, "a")) == genotype
    drawn = [alternation.draw(state, 1.0, generator(number, "a")) for number in range(20)]
    pairs = [
        (one, likely)
        for path in drawn
        for row, wanted in zip(path.active, genotype.active, strict=True)
        for one, likely in zip(row, wanted, strict=True)
    ]
    kept = sum(one == likely for one, likely in pairs) / len(pairs)
    assert 0.4 < kept < 0.9


def test_a_mixture_that_explores_is_refused() -> None:
    with pytest.raises(ValueError, match="explore: expected 0 where sampling is soft"):
        tiny(SearchParams, sampling="soft", explore=0.5)


def test_operations_cannot_be_compared_with_images_that_are_not_held_out() -> None:
    with pytest.raises(ValueError, match="stop_operations: expected null where arch_images"):
        tiny(SearchParams, arch_images="training", stop_operations=0.3)
