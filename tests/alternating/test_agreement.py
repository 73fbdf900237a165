"""An operation stops learning when what it learns helps on training images only."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.alternating import agreement
from pipeline.alternating.agreement import COMPARISONS, Agreement, begin, compare, operations
from pipeline.batches.randomness import generator
from pipeline.space.batch_norm import untracked_statistics
from pipeline.space.network import Network
from pipeline.space.relaxation import EdgeWeights, explore
from tests.conftest import identical, random_images, snapshot, tiny_network
from tests.phases import architecture_step, searching, train

IMAGES = random_images(8)
PIXELS = IMAGES.pixels.float() / 255
OTHERS = IMAGES.labels.flip(0)
STOPPING = {"epochs": 4, "arch_update_freq": 2, "stop_operations": 1.0}


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judge an operation after so few comparisons that a short search stops some."""
    monkeypatch.setattr(agreement, "COMPARISONS", 4)


def path_of(network: Network, number: int = 0) -> EdgeWeights:
    source = generator(number, "path")
    return explore(network.blueprint, probability=1.0, generator=source)


def learn(network: Network, path: EdgeWeights, labels: Tensor = IMAGES.labels) -> None:
    network.zero_grad()
    with untracked_statistics():
        F.cross_entropy(network(PIXELS, path), labels).backward()


def compared(network: Network, labels: Tensor, *, least: float, times: int = 1) -> Agreement:
    """Compare a step on the images with the same images under these labels."""
    known, path = begin(network), path_of(network)
    for _ in range(times):
        learn(network, path)
        compare(known, network, (PIXELS, labels), path=path, least=least, micro_batch=8)
    return known


def test_the_cosine_is_that_of_all_weights_of_an_operation_and_only_of_those_that_ran() -> None:
    network = tiny_network()
    path = path_of(network)
    before = snapshot(network)
    found = compared(network, OTHERS, least=-1.0)
    assert identical(snapshot(network), before)  # statistics of BatchNorm too
    gradients = []
    for labels in (IMAGES.labels, OTHERS):
        learn(network, path, labels)
        gradients.append(
            [
                [
                    one.grad.flatten().double()
                    for one in operation.parameters()
                    if one.grad is not None
                ]
                for operation in operations(network)
            ]
        )
    for number, (one, other) in enumerate(zip(*gradients, strict=True)):
        assert found.comparisons[number] == bool(one)
        if one:
            expected = F.cosine_similarity(torch.cat(one), torch.cat(other), dim=0)
            assert float(found.cosines[number]) == pytest.approx(float(expected), abs=1e-4)
    assert 0 < int(found.comparisons.sum()) < len(found.comparisons)


def test_images_in_small_parts_are_compared_as_one_batch() -> None:
    network = tiny_network().eval()
    found = []
    for micro_batch in (8, 3):
        known, path = begin(network), path_of(network)
        learn(network, path)
        kept = compare(
            known, network, (PIXELS, OTHERS), path=path, least=-1.0, micro_batch=micro_batch
        )
        assert kept == micro_batch
        found.append(known.cosines)
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-4)


def test_what_agrees_learns_on_and_what_does_not_stops_when_it_is_judged() -> None:
    same = compared(tiny_network(), IMAGES.labels, least=0.999, times=COMPARISONS)
    assert not same.stopped.any()
    early = compared(tiny_network(), OTHERS, least=0.999, times=COMPARISONS - 1)
    assert not early.stopped.any()
    assert int(early.comparisons.max()) == COMPARISONS - 1
    judged = compared(tiny_network(), OTHERS, least=0.999, times=COMPARISONS)
    assert torch.equal(judged.stopped, early.comparisons > 0)
    assert int(judged.comparisons.sum()) == 0


@pytest.mark.usefixtures("soon")
def test_the_weights_of_a_stopped_operation_stay_and_those_of_the_others_move(
    checkpoint: Path,
) -> None:
    phase = searching(checkpoint, **STOPPING)
    state = phase.begin()
    assert state.agreement
    rows = train(phase, state, most=3)
    stopped = state.agreement.stopped.clone()
    assert 0 < int(stopped.sum()) < len(stopped)
    parameters = [
        {name: one.clone() for name, one in operation.named_parameters()}
        for operation in operations(state.network)
    ]
    architecture_step(phase, state)
    train(phase, state, most=1, done=rows)
    stayed = [
        identical(dict(operation.named_parameters()), old)
        for operation, old in zip(operations(state.network), parameters, strict=True)
    ]
    assert all(stays for stays, rests in zip(stayed, stopped.tolist(), strict=True) if rests)
    assert not all(stayed)


@pytest.mark.usefixtures("soon")
def test_what_has_stopped_rests_after_a_restart(checkpoint: Path) -> None:
    phase = searching(checkpoint, **STOPPING)
    state = phase.begin()
    train(phase, state, most=3)
    assert state.agreement
    again = phase.resumed(phase.snapshot(state))
    assert again.agreement
    for name, known in asdict(state.agreement).items():
        assert torch.equal(getattr(again.agreement, name), known)
    rests = [
        not next(operation.parameters()).requires_grad for operation in operations(again.network)
    ]
    assert rests == state.agreement.stopped.tolist()
    assert any(rests)


def test_where_nothing_may_stop_nothing_is_compared(checkpoint: Path) -> None:
    phase = searching(checkpoint)
    state = phase.begin()
    train(phase, state)
    assert state.agreement is None
    assert all(weight.requires_grad for weight in state.network.parameters())


@pytest.mark.usefixtures("soon")
def test_weights_may_stop_where_the_architecture_has_stopped(checkpoint: Path) -> None:
    phase = searching(checkpoint, **STOPPING, stop_skips=1)
    state = phase.begin()
    with torch.no_grad():
        state.logits[..., state.network.blueprint.skip] += 3.0
    logits = state.logits.detach().clone()
    train(phase, state)
    assert torch.equal(state.logits, logits)
    assert state.agreement
    assert state.agreement.stopped.any()
