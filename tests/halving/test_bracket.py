"""Successive halving: the number of networks in each round, and who stays."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pipeline.halving.bracket import Result, best, rounds

RESULTS = st.lists(st.tuples(st.integers(0, 100), st.integers(1, 5)), min_size=1, max_size=12).map(
    lambda pairs: [
        Result(number=number, accuracy=hundredths / 100, parameters=size)
        for number, (hundredths, size) in enumerate(pairs)
    ]
)


@given(st.integers(1, 64))
def test_half_of_the_finalists_stay_until_one_is_left(finalists: int) -> None:
    sizes = [*rounds(finalists), 1]
    assert sizes[0] == finalists
    assert all(2 * later in {earlier, earlier + 1} for earlier, later in pairwise(sizes))


@given(results=RESULTS, count=st.integers(1, 12), images=st.integers(1, 10_000))
def test_the_best_are_chosen_and_ties_go_to_the_smaller(
    results: list[Result], count: int, images: int
) -> None:
    chosen = best(results, count, images=images)
    assert len(chosen) == min(count, len(results))
    assert len({one.number for one in chosen}) == len(chosen)
    left = list(results)
    for one in chosen:
        top = max(other.accuracy for other in left)
        error = (top * (1 - top) / images) ** 0.5
        assert top - one.accuracy <= error
        tied = [other for other in left if top - other.accuracy <= error]
        assert one.parameters == min(other.parameters for other in tied)
        left.remove(one)


@given(results=RESULTS, order=st.randoms(use_true_random=False))
def test_the_order_of_the_results_decides_nothing(results: list[Result], order: object) -> None:
    shuffled = list(results)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert best(results, 3, images=50) == best(shuffled, 3, images=50)


def test_the_last_bits_decide_nothing() -> None:
    small = Result(number=1, accuracy=0.9, parameters=10)
    large = Result(number=0, accuracy=0.9000001, parameters=20)
    assert best([large, small], 1, images=4000) == [small]
