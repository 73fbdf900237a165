"""What a search reports when it has ended."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.harness.records import Row
from pipeline.searching.search import drop_at_start


@given(st.floats(0, 1), st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_the_drop_at_the_start_is_to_the_worst_of_the_first_three_epochs(
    before: float, accuracies: list[float]
) -> None:
    history: list[Row] = [{"validation_accuracy": accuracy} for accuracy in accuracies]
    drop = drop_at_start(before, history)
    assert drop == before - min(accuracies[:3])
    assert (drop <= 0) == (min(accuracies[:3]) >= before)
