"""What the logits learn by: each estimate against brute force."""

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipeline.alternating.alternation import Alternation
from pipeline.alternating.gradients import estimator, score
from pipeline.alternating.params import SearchParams
from pipeline.batches.randomness import generator
from pipeline.space.relaxation import EdgeWeights
from tests.conftest import context, identical, random_images, snapshot, tiny, tiny_network
from tests.phases import architecture_step, growing, searching, train

CPU = torch.device("cpu")
WAYS: list[dict[str, Any]] = [
    {"arch_gradient": "gate", "arch_paths": 1},
    {"arch_gradient": "gate", "arch_paths": 3},
    {"arch_gradient": "straight_through", "arch_paths": 1},
    {"arch_gradient": "reinmax", "arch_paths": 1},
    {"arch_gradient": "score", "arch_paths": 2},
]


def flat() -> Tensor:
    """Equal logits of a tiny network."""
    blueprint = tiny_network().blueprint
    shape = (blueprint.architectures, len(blueprint.edges), len(blueprint.operations))
    return torch.zeros(shape, requires_grad=True)


def uncut() -> Tensor:
    """Logits that hardly ever draw `none`, because zeros would meet a ReLU at its kink."""
    logits = flat().detach().double()
    logits[..., tiny_network().blueprint.none] = -9.0
    return logits.requires_grad_()


def gates_of(weights: EdgeWeights) -> Tensor:
    assert weights.gates is not None
    return weights.gates


@given(st.integers(0, 999), st.integers(2, 3))
def test_the_expected_score_is_the_gradient_of_the_expected_loss(seed: int, paths: int) -> None:
    source = generator(seed, "logits")
    logits = torch.randn(1, 2, 3, generator=source, dtype=torch.float64, requires_grad=True)
    table = torch.randn(3, 3, generator=source, dtype=torch.float64)
    cells = list(product(range(3), repeat=2))
    rows = logits.softmax(-1)[0]
    chances = {cell: rows[0, cell[0]] * rows[1, cell[1]] for cell in cells}

    def loss_of(weights: EdgeWeights) -> Tensor:
        ((first,), (second,)) = weights.active[0]
        return table[first, second]

    expected = torch.stack([chances[cell] * table[cell] for cell in cells]).sum()
    (wanted,) = torch.autograd.grad(expected, logits, retain_graph=True)
    found = torch.zeros_like(logits)
    for drawn in product(cells, repeat=paths):
        probability = torch.stack([chances[cell] for cell in drawn]).prod().detach()
        choices = torch.tensor(drawn)[:, None]
        found += probability * score(logits.detach(), choices, loss_of)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_straight_through_knows_what_the_operations_not_drawn_would_do() -> None:
    network, images = tiny_network().double(), random_images(8)
    pixels = images.pixels.double() / 255.0
    drawn: list[EdgeWeights] = []

    def loss_of(weights: EdgeWeights) -> Tensor:
        drawn.append(weights)
        return F.cross_entropy(network(pixels, weights), images.labels)

    found = []
    for way in ("straight_through", "gate"):
        logits = uncut()
        params = tiny(SearchParams, arch_gradient=way)
        source = generator(3, "draw")
        estimate = estimator(params, logits, temperature=1.0, source=source, device=CPU)
        found.append(estimate(loss_of))
    gates = gates_of(drawn[0]).detach()
    assert torch.equal(gates, gates_of(drawn[1]).detach())

    by_gate, small = torch.zeros_like(gates), 1e-6
    with torch.no_grad():
        for place in product(*map(range, gates.shape)):
            moved = []
            for step in (small, -small):
                changed = gates.clone()
                changed[place] += step
                moved.append(loss_of(EdgeWeights(active=drawn[0].active, gates=changed)))
            by_gate[place] = (moved[0] - moved[1]) / (2 * small)
    logits = uncut()
    exponential = torch.empty_like(logits).exponential_(generator=generator(3, "draw"))
    soft = (logits - exponential.log()).softmax(-1)
    (wanted,) = torch.autograd.grad((soft * by_gate).sum(), logits)
    assert found[0] is not None
    assert found[1] is not None
    torch.testing.assert_close(found[0], wanted, rtol=1e-4, atol=1e-7)
    assert not torch.allclose(found[1], wanted, rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_the_gradients_of_the_parts_of_a_batch_add_up(way: dict[str, Any]) -> None:
    params, logits = tiny(SearchParams, **way), flat()
    losses = torch.randn(2, *logits.shape, generator=generator(0, "losses"))

    def gradient(part: Tensor) -> Tensor:
        def loss_of(weights: EdgeWeights) -> Tensor:
            if weights.gates is not None:
                return (part * weights.gates).sum()
            return (part * F.one_hot(torch.tensor(weights.active)[..., 0], part.shape[-1])).sum()

        source = generator(0, "draw")
        estimate = estimator(params, logits, temperature=0.7, source=source, device=CPU)
        found = estimate(loss_of)
        assert found is not None
        return found

    parts = gradient(losses[0]) + gradient(losses[1])
    torch.testing.assert_close(parts, gradient(losses.sum(0)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_moves_the_logits_and_no_bit_of_the_weights(
    way: dict[str, Any], checkpoint: Path
) -> None:
    phase = searching(checkpoint, **way)
    state = phase.begin()
    weights, logits = snapshot(state.network), state.logits.detach().clone()
    architecture_step(phase, state)
    assert not torch.equal(state.logits, logits)
    assert identical(snapshot(state.network), weights)


def test_several_paths_of_a_gate_give_the_mean_of_their_gradients() -> None:
    logits = flat()
    losses = torch.randn(logits.shape, generator=generator(0, "losses"))

    def gradients(times: int, paths: int) -> Tensor:
        params, source = tiny(SearchParams, arch_paths=paths), generator(5, "draw")
        found = []
        for _ in range(times):
            estimate = estimator(params, logits, temperature=1.0, source=source, device=CPU)
            found.append(estimate(lambda weights: (gates_of(weights) * losses).sum()))
        return torch.stack([one for one in found if one is not None]).mean(0)

    torch.testing.assert_close(gradients(1, paths=3), gradients(3, paths=1))


def test_a_score_drives_out_what_cuts_an_edge() -> None:
    """A gate cannot: `none` has no output that a gradient could pass through."""
    params = tiny(SearchParams, arch_gradient="score", arch_paths=8)
    logits, none = flat().detach(), tiny_network().blueprint.none

    def loss_of(weights: EdgeWeights) -> Tensor:
        return torch.tensor(float(sum((none,) == edge for row in weights.active for edge in row)))

    for number in range(60):
        source = generator(number, "draw")
        estimate = estimator(params, logits, temperature=1.0, source=source, device=CPU)
        found = estimate(loss_of)
        assert found is not None
        logits -= found
    assert (logits.softmax(-1)[..., none] < 0.05).all()


@pytest.mark.parametrize(("split", "equal"), [("training", True), ("validation", False)])
def test_the_architecture_can_learn_from_training_images_instead(
    split: str, equal: bool, checkpoint: Path
) -> None:
    found = []
    for seed in (1, 9):
        given = replace(context(), validation=random_images(16, seed=seed))
        phase = searching(checkpoint, given, arch_images=split)
        state = phase.begin()
        train(phase, state)
        found.append(state.logits)
    assert torch.equal(*found) == equal


@pytest.mark.parametrize("left", [0.0, 0.75])
def test_beta_decay_is_the_gradient_of_the_mean_logsumexp_of_the_edges(
    left: float, checkpoint: Path
) -> None:
    """Its weight rises over search."""
    found = []
    for beta in (0.0, 3.0):
        phase = searching(checkpoint, beta_decay=beta)
        state = phase.begin()
        architecture_step(phase, state, left=left)
        found.append(state.logits.grad)
    logits = phase.begin().logits.detach().requires_grad_()
    (3.0 * (1 - left) * logits.logsumexp(-1).mean()).backward()
    torch.testing.assert_close(found[1] - found[0], logits.grad)


def test_beta_decay_rises_over_search_and_growth_has_all_of_it(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[float] = []
    real = Alternation._descend

    def watched(self: Alternation, *args: Any, beta: float) -> None:
        used.append(beta)
        real(self, *args, beta=beta)

    monkeypatch.setattr(Alternation, "_descend", watched)
    phase = searching(checkpoint, epochs=4, beta_decay=8.0)
    train(phase, phase.begin())
    assert sorted(set(used)) == [0.0, 2.0, 4.0, 6.0]
    assert used == sorted(used)
    used.clear()
    growth = growing(checkpoint, search=phase.params)
    train(growth, growth.begin(), most=1)
    assert set(used) == {8.0}


@pytest.mark.parametrize(("most", "stays"), [(1, True), (None, False)])
def test_the_architecture_stays_once_a_cell_has_enough_skip_connections(
    most: int | None, stays: bool, checkpoint: Path
) -> None:
    phase = searching(checkpoint, stop_skips=most)
    state = phase.begin()
    with torch.no_grad():
        state.logits[..., state.network.blueprint.skip] += 3.0
    logits = state.logits.detach().clone()
    train(phase, state)
    assert torch.equal(state.logits, logits) == stays


def test_a_score_of_one_path_is_refused() -> None:
    with pytest.raises(ValueError, match="arch_paths: score compares at least 2, got 1"):
        tiny(SearchParams, arch_gradient="score", arch_paths=1)
