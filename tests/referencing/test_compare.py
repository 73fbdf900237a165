"""A difference counts only if chance is an unlikely explanation."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.comparison.references import Reference, References, Verdict, sentence
from pipeline.referencing.compare import compare

ANSWERS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=200)


def arrays(pairs: list[tuple[bool, bool]]) -> tuple[np.ndarray, np.ndarray]:
    found, reference = zip(*pairs, strict=True)
    return np.array(found), np.array(reference)


def beside(found: np.ndarray, reference: np.ndarray) -> Reference:
    return compare(found, reference, name="svc", title="SVC on pixels")


@given(ANSWERS)
def test_a_comparison_turned_round_says_the_opposite(pairs: list[tuple[bool, bool]]) -> None:
    found, reference = arrays(pairs)
    one, other = beside(found, reference), beside(reference, found)
    opposite = {"better": "worse", "worse": "better", "tie": "tie"}
    assert other.verdict == opposite[one.verdict]
    assert other.difference == -one.difference
    assert other.p_value == one.p_value


@given(ANSWERS)
def test_the_difference_is_that_of_the_accuracies(pairs: list[tuple[bool, bool]]) -> None:
    found, reference = arrays(pairs)
    compared = beside(found, reference)
    assert np.isclose(compared.difference, found.mean() - reference.mean())
    assert compared.low <= compared.test_accuracy <= compared.high
    assert compared.test_accuracy == reference.mean()


def test_five_images_are_chance_and_six_are_not() -> None:
    """McNemar's exact test: 2 / 2^5 is above 0.05, 2 / 2^6 below."""
    for only_found, verdict in ((5, "tie"), (6, "better")):
        found = np.ones(100, bool)
        reference = np.arange(100) >= only_found
        compared = beside(found, reference)
        assert compared.p_value == 2 / 2**only_found
        assert compared.verdict == verdict
    assert beside(found, found).p_value == 1.0


def told(verdict: Verdict, difference: float) -> str:
    best = Reference(
        name="svc",
        title="SVC on pixels",
        test_accuracy=0.9,
        low=0.8,
        high=0.95,
        difference=difference,
        p_value=0.01,
        verdict=verdict,
    )
    return sentence(References(compared=(best,)))


def test_the_sentence_says_who_wins() -> None:
    assert told("better", 0.05) == (
        "The found network is better than the best reference, SVC on pixels (90.0%):"
        " by 5.0 points, p = 0.01."
    )
    assert told("worse", -0.05).startswith("The best reference, SVC on pixels (90.0%), is better")
    assert told("tie", 0.003).startswith("It is a tie with the best reference, SVC on pixels")
    assert sentence(References()) == "It was compared with nothing."
