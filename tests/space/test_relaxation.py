"""What logits become: rows that sum to one, keep their gradient and never cut an edge by chance."""

from pathlib import Path

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Generator, Tensor

from pipeline.batches.randomness import generator
from pipeline.deciding.decision import decide, entropy, likely_operations
from pipeline.harness.params_file import read_params
from pipeline.harness.section import Section
from pipeline.space.blueprint import Blueprint, plan
from pipeline.space.params import GenotypeParams, NetworkParams
from pipeline.space.relaxation import (
    explore,
    from_choices,
    genotype_weights,
    hard_weights,
    initial_logits,
    reinmax,
    relax,
    sample,
    skip_only,
    soft_weights,
    whole_weights,
    without_disabled,
)
from tests.conftest import blueprints, tiny_blueprint

CPU = torch.device("cpu")
TEMPERATURES = st.floats(0.01, 100)


@st.composite
def logits_of(draw: st.DrawFn, blueprint: Blueprint, spread: float = 3.0) -> Tensor:
    """Logits of a blueprint, from flat to nearly decided."""
    shape = (blueprint.architectures, len(blueprint.edges), len(blueprint.operations))
    noise = torch.randn(shape, generator=generator(draw(st.integers(0, 999)), "logits"))
    return draw(st.floats(0, spread)) * noise


@st.composite
def searches(draw: st.DrawFn) -> tuple[Blueprint, Tensor]:
    blueprint = draw(blueprints())
    return blueprint, draw(logits_of(blueprint))


@given(searches(), TEMPERATURES, st.integers(0, 99))
def test_sampled_rows_are_exactly_one_hot(
    search: tuple[Blueprint, Tensor], temperature: float, seed: int
) -> None:
    _, logits = search
    rows = sample(
        logits.requires_grad_(), temperature=temperature, generator=generator(seed, "rows")
    )
    assert ((rows == 0) | (rows == 1)).all()
    assert torch.equal(rows.sum(-1), torch.ones(rows.shape[:-1]))


@given(searches(), st.floats(0.1, 100), st.integers(0, 99))
def test_the_gradient_of_a_sample_is_that_of_the_soft_sample(
    search: tuple[Blueprint, Tensor], temperature: float, seed: int
) -> None:
    _, logits = search
    logits.requires_grad_()
    factors = torch.randn(logits.shape, generator=generator(seed, "factors"))
    gradients = [
        torch.autograd.grad(
            (
                factors * draw(logits, temperature=temperature, generator=generator(seed, "rows"))
            ).sum(),
            logits,
        )[0]
        for draw in (sample, relax)
    ]
    assert torch.equal(*gradients)


@given(searches(), TEMPERATURES, st.integers(0, 99))
def test_soft_rows_sum_to_one(
    search: tuple[Blueprint, Tensor], temperature: float, seed: int
) -> None:
    _, logits = search
    rows = relax(logits, temperature=temperature, generator=generator(seed, "rows"))
    assert (rows >= 0).all()
    torch.testing.assert_close(rows.sum(-1), torch.ones(rows.shape[:-1]))


@given(searches(), st.integers(0, 99))
def test_the_temperature_does_not_change_what_is_sampled(
    search: tuple[Blueprint, Tensor], seed: int
) -> None:
    _, logits = search
    cold, hot = (
        sample(logits, temperature=temperature, generator=generator(seed, "rows"))
        for temperature in (0.1, 10.0)
    )
    assert torch.equal(cold, hot)


def test_operations_are_sampled_as_often_as_their_weights_say() -> None:
    logits = torch.tensor([0.0, 1.0, 2.0, -1.0])
    rows = sample(
        logits.expand(1, 20_000, 4), temperature=0.5, generator=generator(0, "frequencies")
    )
    torch.testing.assert_close(rows.mean((0, 1)), logits.softmax(-1), atol=0.015, rtol=0)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
@pytest.mark.parametrize("draw", [sample, relax])
def test_a_temperature_that_is_not_positive_is_refused(draw: object, temperature: float) -> None:
    assert callable(draw)
    with pytest.raises(ValueError, match="temperature must be positive"):
        draw(torch.zeros(1, 2, 3), temperature=temperature, generator=torch.Generator())


class Params(Section):
    """What `params.yaml` says of the network."""

    network: NetworkParams


def test_at_the_start_none_has_less_than_two_percent() -> None:
    params = read_params(Params, Path(__file__).parents[2] / "params.yaml").network
    many = params.model_copy(update={"share_logits": False, "cells": 40})
    blueprint = plan(many, image_channels=1, classes=10, image_size=32)
    logits = initial_logits(
        blueprint,
        none=params.initial_none,
        skip=params.initial_skip,
        noise=params.initial_noise,
        generator=generator(0, "logits"),
    )
    assert logits.softmax(-1)[..., blueprint.none].mean() < 0.02


@given(blueprints())
def test_skip_only_is_one_hot_at_the_skip_connection(blueprint: Blueprint) -> None:
    rows = torch.zeros(blueprint.architectures, len(blueprint.edges), len(blueprint.operations))
    rows[..., blueprint.skip] = 1
    assert skip_only(blueprint) == hard_weights(rows)


@given(blueprints(), st.integers(0, 99))
def test_exploring_with_probability_zero_is_skip_only(blueprint: Blueprint, seed: int) -> None:
    path = explore(blueprint, probability=0.0, generator=generator(seed, "path"))
    assert path == skip_only(blueprint)


@given(blueprints(), st.floats(0, 1), st.integers(0, 99))
def test_exploring_never_takes_none(blueprint: Blueprint, probability: float, seed: int) -> None:
    path = explore(blueprint, probability=probability, generator=generator(seed, "path"))
    for architecture in path.active:
        assert len(architecture) == len(blueprint.edges)
        for edge in architecture:
            assert len(edge) == 1
            assert edge[0] != blueprint.none


def test_exploring_fully_takes_all_other_operations_equally_often() -> None:
    blueprint = tiny_blueprint(nodes=4)
    counts = torch.zeros(len(blueprint.operations))
    for number in range(300):
        path = explore(blueprint, probability=1.0, generator=generator(0, "path", number))
        for (operation,) in path.active[0]:
            counts[operation] += 1
    torch.testing.assert_close(
        counts / counts.sum(), torch.tensor([0.0, 1 / 3, 1 / 3, 1 / 3]), atol=0.03, rtol=0
    )


@given(searches())
def test_gates_of_a_mixture_sum_to_one_over_what_runs(search: tuple[Blueprint, Tensor]) -> None:
    _, logits = search
    weights = soft_weights(logits.softmax(-1), device=CPU)
    assert weights.gates is not None
    torch.testing.assert_close(weights.gates.sum(-1), torch.ones(logits.shape[:-1]))
    for architecture, edges in enumerate(weights.active):
        for edge, active in enumerate(edges):
            idle = set(range(logits.shape[-1])) - set(active)
            assert all(weights.gates[architecture, edge, index] == 0 for index in idle)


@given(searches())
def test_a_dominated_edge_runs_the_dominant_operation_and_those_above_the_minor_share(
    search: tuple[Blueprint, Tensor],
) -> None:
    _, logits = search
    rows = logits.softmax(-1)
    weights = soft_weights(rows, device=CPU, dominance=0.7, minor=0.05)
    for edges, architecture in zip(weights.active, rows.tolist(), strict=True):
        for active, row in zip(edges, architecture, strict=True):
            least = 0.05 if max(row) > 0.7 else -1.0
            assert active == tuple(index for index, weight in enumerate(row) if weight > least)


def test_an_edge_left_with_one_operation_keeps_a_gradient_on_all_its_logits() -> None:
    # Returning the operation's bare output instead would give no gradient at all.
    logits = torch.tensor([[[6.0, 1.0, 0.0, -1.0]]], requires_grad=True)
    weights = soft_weights(logits.softmax(-1), device=CPU)
    assert weights.active == (((0,),),)
    assert weights.gates is not None
    (gradient,) = torch.autograd.grad(weights.gates[0, 0, 0], logits)
    assert (gradient != 0).all()


def test_hard_weights_have_gates_only_where_a_gradient_is_asked_for() -> None:
    rows = torch.eye(3)[None]
    assert hard_weights(rows) == from_choices(torch.tensor([[0, 1, 2]]))
    gated = hard_weights(rows, CPU)
    assert gated.active == hard_weights(rows).active
    assert gated.gates is rows


def test_every_operation_of_whole_weights_runs_and_those_not_drawn_count_nothing() -> None:
    rows = torch.tensor([[[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]])
    weights = whole_weights(rows, CPU)
    assert weights.active == (((0, 1, 2), (0, 1, 2)),)
    assert weights.gates is not None
    assert torch.equal(weights.gates, rows)


@given(searches(), TEMPERATURES, st.integers(0, 99))
def test_reinmax_draws_what_sample_draws(
    search: tuple[Blueprint, Tensor], temperature: float, seed: int
) -> None:
    _, logits = search
    rows = [
        draw(logits, temperature=1.0, generator=generator(seed, "rows"))
        for draw in (sample, reinmax)
    ]
    assert torch.equal(rows[0], rows[1])
    other = reinmax(logits, temperature=temperature, generator=generator(seed, "rows"))
    assert torch.equal(rows[1], other)


def test_the_expected_gradient_of_reinmax_is_exact_for_quadratic_losses() -> None:
    """Its order is two (Liu et al. 2023); straight-through has order one."""
    logits = torch.tensor([[[0.3, -0.5, 0.9]]], dtype=torch.float64, requires_grad=True)
    source = generator(0, "loss")
    linear, square = (torch.randn(size, generator=source).double() for size in ((3,), (3, 3)))

    def loss(row: Tensor) -> Tensor:
        return row @ linear + row @ square @ row

    weights = logits.softmax(-1).flatten()
    exact = torch.stack([weights[i] * loss(torch.eye(3).double()[i]) for i in range(3)]).sum()
    (wanted,) = torch.autograd.grad(exact, logits, retain_graph=True)
    found = torch.zeros_like(logits)
    seen: set[int] = set()
    for number in range(100):
        rows = reinmax(logits, temperature=1.0, generator=generator(number, "draw"))
        index = int(rows.argmax())
        if index not in seen:
            seen.add(index)
            (gradient,) = torch.autograd.grad(loss(rows.flatten()), logits)
            found += float(weights[index].detach()) * gradient
    assert seen == {0, 1, 2}
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-9)


@given(searches(), st.floats(0, 1), st.integers(0, 99))
def test_the_same_edges_explore_the_same_whatever_the_others_do(
    search: tuple[Blueprint, Tensor], probability: float, seed: int
) -> None:
    blueprint, logits = search
    choices = logits.argmax(-1)
    skips, chosen = (
        explore(
            blueprint,
            probability=probability,
            generator=generator(seed, "explore"),
            otherwise=otherwise,
        ).active
        for otherwise in (None, lambda: choices)
    )
    for skip_row, row, wanted in zip(skips, chosen, choices.tolist(), strict=True):
        for skip, found, choice in zip(skip_row, row, wanted, strict=True):
            assert found in {skip, (choice,)}
            if probability == 1:
                assert found == skip


@given(searches(), st.integers(1, 2), st.integers(0, 99))
def test_what_is_disabled_is_never_drawn_run_or_decided(
    search: tuple[Blueprint, Tensor], edges_per_node: int, seed: int
) -> None:
    def source() -> Generator:
        return generator(seed, "path")

    blueprint, logits = search
    required = {blueprint.none, blueprint.skip}
    others = [index for index in range(len(blueprint.operations)) if index not in required]
    assume(len(others) > 1)
    kept = torch.tensor(others)[torch.randint(len(others), logits.shape[:2], generator=source())]
    gone = torch.zeros(logits.shape, dtype=torch.bool)
    gone[..., others] = True
    gone.scatter_(-1, kept[..., None], False)
    logits = logits.masked_fill(gone, -torch.inf).requires_grad_()

    for draw in (sample, relax, reinmax):
        rows = draw(logits, temperature=0.5, generator=source())
        assert rows.isfinite().all()
        assert not rows[gone].any()
        (gradient,) = torch.autograd.grad(rows.square().sum(), logits)
        assert not gradient.isnan().any()
        assert not gradient[gone].any()
    rules = GenotypeParams(edges_per_node=edges_per_node, max_skips=1)
    for path in (
        explore(blueprint, probability=1.0, generator=source(), logits=logits),
        without_disabled(
            whole_weights(sample(logits, temperature=0.5, generator=source()), CPU), logits
        ),
        without_disabled(soft_weights(logits.softmax(-1), device=CPU, dominance=1.0), logits),
        genotype_weights(decide(logits, blueprint, rules), blueprint),
        from_choices(likely_operations(logits, blueprint)),
    ):
        for edges_gone, edges in zip(gone.tolist(), path.active, strict=True):
            for flags, active in zip(edges_gone, edges, strict=True):
                assert not any(flags[index] for index in active)
    rest = logits[~gone].view(*logits.shape[:2], -1)
    torch.testing.assert_close(entropy(logits), entropy(rest))
