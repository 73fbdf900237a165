"""Search alternates: weights on training images, the architecture on validation images."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from pipeline.alternating.params import SearchParams
from pipeline.alternating.state import architecture_steps
from pipeline.batches.batches import training_batches
from pipeline.space.relaxation import EdgeWeights
from pipeline.supernet.supernet import SearchImages
from pipeline.training.params import TrainingParams
from tests.conftest import identical, random_images, search_images, snapshot, tiny
from tests.searching.conftest import PLAIN, begin, one_architecture_step, search


@pytest.mark.parametrize("sampling", ["hard", "soft"])
def test_weight_steps_leave_the_logits_bit_identical(sampling: str) -> None:
    params = tiny(SearchParams, arch_update_freq=1000, sampling=sampling)
    state = begin(params)
    weights, logits = snapshot(state.network), state.logits.detach().clone()
    search(state, params)
    assert torch.equal(state.logits, logits)
    assert state.temperature == params.temperature
    assert not identical(snapshot(state.network), weights)


@pytest.mark.parametrize("sampling", ["hard", "soft"])
def test_an_architecture_step_changes_the_logits_and_no_bit_of_the_weights(sampling: str) -> None:
    params = tiny(SearchParams, sampling=sampling)
    state = begin(params)
    weights, logits = snapshot(state.network), state.logits.detach().clone()
    momentum = [buffer.clone() for buffer in state.optimizer.buffers]
    one_architecture_step(state, params)
    assert not torch.equal(state.logits, logits)
    assert identical(snapshot(state.network), weights)
    assert all(parameter.grad is None for parameter in state.network.parameters())
    assert all(map(torch.equal, state.optimizer.buffers, momentum))


def test_an_architecture_step_whose_path_is_cut_everywhere_moves_nothing() -> None:
    params = tiny(SearchParams)
    state = begin(params)
    with torch.no_grad():
        state.logits[..., state.network.blueprint.none] = 50.0
    logits = state.logits.detach().clone()
    one_architecture_step(state, params)
    assert torch.equal(state.logits, logits)


@given(
    images=st.integers(1, 40),
    batch_size=st.integers(2, 16),
    phase=st.integers(1, 5),
    frequency=st.integers(2, 7),
)
def test_architecture_steps_are_counted_from_the_batches_that_training_makes(
    images: int, batch_size: int, phase: int, frequency: int
) -> None:
    batches = training_batches(
        random_images(images, size=2),
        batch_size=batch_size,
        augmentation=PLAIN,
        seed=0,
        purpose=("count",),
    )
    weight_steps = phase * len(list(batches))
    counted = architecture_steps(images, batch_size, phase, frequency)
    assert counted == weight_steps // (frequency - 1)


@pytest.mark.parametrize(
    ("training", "frequency"),
    [(24, 2), (24, 3), (24, 5), (20, 3), (17, 4), (24, 8)],  # 20: a ragged batch; 17: 8 and 9
)
def test_one_architecture_step_follows_every_so_many_weight_steps_across_epochs(
    training: int, frequency: int
) -> None:
    images = search_images(training=training, validation=10)
    params = tiny(
        SearchParams, epochs=3, arch_update_freq=frequency, anneal_rate=0.5, temperature_end=1e-6
    )
    state = begin(params, images)
    search(state, params, images)
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


def test_weights_learn_from_training_images_and_the_architecture_from_validation_images() -> None:
    dark, light = search_images(20, 12).training, search_images(20, 12).validation
    dark.pixels.clamp_(max=100)
    light.pixels.clamp_(min=150)
    params = tiny(SearchParams)
    images = SearchImages(training=dark, validation=light)
    state = begin(params, images)
    recorder = Recorder()
    state.network.register_forward_pre_hook(recorder)
    search(state, params, images)
    border = (torch.tensor([125 / 255] * 3) - dark.mean) / dark.std
    assert len(recorder.weight_steps) == 6
    assert len(recorder.architecture_steps) == architecture_steps(20, 8, 2, 3)
    assert all((batch < border[:, None, None]).all() for batch in recorder.weight_steps)
    assert all((batch > border[:, None, None]).all() for batch in recorder.architecture_steps)


def test_validation_images_are_all_used_before_one_comes_again() -> None:
    images = search_images(training=48, validation=12)
    params = tiny(SearchParams, epochs=1, arch_update_freq=2)
    state = begin(params, images)
    recorder = Recorder()
    state.network.register_forward_pre_hook(recorder)
    search(state, params, images)
    sizes = [len(batch) for batch in recorder.architecture_steps]
    assert sizes == [8, 4, 8, 4, 8, 4]
    for first, second in pairwise(recorder.architecture_steps):
        if len(first) == 8:
            assert len(torch.cat([first, second]).unique(dim=0)) == 12


@pytest.mark.parametrize(("frequency", "steps"), [(3, 9), (1000, 6)])
def test_every_step_draws_a_path_of_its_own_and_another_seed_other_paths(
    frequency: int, steps: int
) -> None:
    params = tiny(SearchParams, arch_update_freq=frequency)
    recorders = [Recorder(), Recorder()]
    for seed, recorder in enumerate(recorders):
        state = begin(params, seed=0)
        state.network.register_forward_pre_hook(recorder)
        search(state, params, seed=seed)
    drawn = [path.active for recorder in recorders for path in recorder.paths]
    assert len(drawn) == 2 * steps
    assert len(set(drawn)) == len(drawn)


def test_equal_seeds_give_equal_bytes_and_others_do_not() -> None:
    params = tiny(SearchParams)
    first, again, other = (begin(params, seed=seed) for seed in (0, 0, 1))
    rows = [
        search(state, params, seed=seed) for state, seed in ((first, 0), (again, 0), (other, 1))
    ]
    assert rows[0] == rows[1]
    assert identical(snapshot(first.network), snapshot(again.network))
    assert torch.equal(first.logits, again.logits)
    assert not identical(snapshot(first.network), snapshot(other.network))
    assert not torch.equal(first.logits, other.logits)


@pytest.mark.parametrize("sampling", ["hard", "soft"])
def test_search_that_was_broken_off_after_an_epoch_goes_on_to_the_same_bytes(
    sampling: str,
) -> None:
    params = tiny(SearchParams, epochs=3, sampling=sampling)
    whole, parts = begin(params), begin(params)
    rows = search(whole, params)
    assert search(parts, params, most=1) + search(parts, params) == rows
    assert [row["epoch"] for row in rows] == [6, 7, 8]
    assert identical(snapshot(parts.network), snapshot(whole.network))
    assert torch.equal(parts.logits, whole.logits)


@pytest.mark.parametrize("explore", [0.0, 1.0])
def test_weight_steps_explore_less_and_less_as_search_goes_on(explore: float) -> None:
    params = tiny(SearchParams, epochs=4, arch_update_freq=1000, explore=explore)
    images = search_images(training=160)
    state = begin(params, images)
    blueprint = state.network.blueprint
    with torch.no_grad():  # so that what is drawn otherwise is certain
        state.logits[..., blueprint.skip] += 60.0
    recorder = Recorder()
    state.network.register_forward_pre_hook(recorder)
    search(state, params, images)
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


@pytest.mark.parametrize("sampling", ["hard", "soft"])
def test_the_auxiliary_skip_fades_evenly_in_every_step_of_search(sampling: str) -> None:
    params = tiny(SearchParams, epochs=4, arch_update_freq=2, sampling=sampling)
    training = tiny(TrainingParams, auxiliary_skip=0.8)
    images = search_images(training=16, validation=16)
    state = begin(params, images)
    weights: list[float] = []

    def note(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        if len(arguments) > 1 and arguments[1] is not None:
            weights.append(arguments[1].auxiliary)

    state.network.register_forward_pre_hook(note)
    search(state, params, images, training=training)
    assert len(weights) >= 16
    assert weights == pytest.approx(
        [strength for strength in (0.8, 0.6, 0.4, 0.2) for _ in range(len(weights) // 4)]
    )


def test_a_mixture_that_explores_is_refused() -> None:
    with pytest.raises(ValueError, match="explore: expected 0 where sampling is soft"):
        tiny(SearchParams, sampling="soft", explore=0.5)


def test_operations_cannot_be_compared_with_images_that_are_not_held_out() -> None:
    with pytest.raises(ValueError, match="stop_operations: expected null where arch_images"):
        tiny(SearchParams, arch_images="training", stop_operations=0.3)
