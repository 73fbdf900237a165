"""A draw depends on what it is for, and on nothing that was drawn before."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pipeline.batches.randomness import generator

SEEDS = st.integers(0, 2**63 - 1)
PURPOSES = st.lists(st.text(max_size=5) | st.integers(), max_size=4).map(tuple)


def draw(seed: int, purpose: tuple[str | int, ...]) -> Tensor:
    return torch.randint(2**62, (4,), generator=generator(seed, *purpose))


@given(SEEDS, PURPOSES, st.integers(0, 9))
def test_equal_purposes_give_equal_draws_whatever_was_drawn_before(
    seed: int, purpose: tuple[str | int, ...], others: int
) -> None:
    first = draw(seed, purpose)
    for number in range(others):
        draw(seed, (*purpose, number))
        torch.rand(3)
    assert torch.equal(draw(seed, purpose), first)


@given(SEEDS, SEEDS, PURPOSES, PURPOSES)
def test_another_seed_or_purpose_gives_other_draws(
    seed: int, other_seed: int, purpose: tuple[str | int, ...], other: tuple[str | int, ...]
) -> None:
    same = (seed, purpose) == (other_seed, other)
    assert torch.equal(draw(seed, purpose), draw(other_seed, other)) == same
    assert torch.equal(draw(seed, purpose), draw(seed, other)) == (purpose == other)


def test_parts_of_a_purpose_do_not_run_together() -> None:
    purposes: list[tuple[str | int, ...]] = [
        ("search", 1, 12),
        ("search", 11, 2),
        ("search1", 12),
        ("search", "1", 12),
        ("search", 112),
        (),
    ]
    draws = torch.stack([draw(0, purpose) for purpose in purposes])
    assert len(draws.unique(dim=0)) == len(purposes)


def test_the_global_generator_is_not_touched() -> None:
    before = torch.get_rng_state()
    draw(0, ("search", 1))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_purpose_has_the_same_seed_on_every_machine() -> None:
    # Resume points and published results rest on this number.
    assert generator(42, "search", "path", 3, 5).initial_seed() == 2412346579485642562
