from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.harness.errors import ParamsError, RunError
from pipeline.running.proposals import Point, Proposals, Range, Study, Tried, grid

SPACE: dict[str, list[Any] | Range] = {
    "search.arch_update_freq": [3, 5, 7],
    "search.arch_reach": Range(low=1.0, high=8.0, log=True),
    "growth.patience": Range(low=1, high=4),
}


def study(file: Path, *, trials: int = 6, objective: str = "growth.validation_accuracy") -> Study:
    return Study(
        file,
        "a-study",
        space=SPACE,
        direction="maximize",
        trials=trials,
        seed=42,
        first_epoch=2,
        facts={"objective": objective},
    )


def run(proposals: Proposals) -> list[Point]:
    """Try all points; the lower the reach, the better."""
    points = []
    while point := proposals.ask():
        value = -float(point.overrides.get("search.arch_reach", 0))
        proposals.tell(Tried(point=point, state="Completed", value=value))
        points.append(point)
    return points


@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "c"]),
        st.lists(st.integers(), min_size=1, max_size=3, unique=True),
        min_size=1,
    )
)
def test_a_grid_has_every_combination_once(values: dict[str, list[int]]) -> None:
    points = [dict(point.overrides) for point in run(grid({**values}))]
    expected = 1
    for choices in values.values():
        expected *= len(choices)
    assert len(points) == expected
    assert len({tuple(sorted(point.items())) for point in points}) == expected
    assert all(point[key] in values[key] for point in points for key in values)


def test_a_grid_has_no_ranges() -> None:
    with pytest.raises(ParamsError, match=r"search\.arch_reach: a range needs a number of trials"):
        grid(SPACE)


@pytest.mark.parametrize(("low", "high", "log"), [(8, 2, False), (3, 3, False), (0, 1, True)])
def test_a_range_without_numbers_is_refused(low: float, high: float, log: bool) -> None:
    with pytest.raises(ValueError, match=f"low: {low} "):
        Range(low=low, high=high, log=log)


def test_a_study_stays_in_its_space_and_has_as_many_trials_as_asked(tmp_path: Path) -> None:
    points = run(study(tmp_path / "sweeps.db"))
    assert [point.number for point in points] == list(range(6))
    for point in points:
        assert point.overrides["search.arch_update_freq"] in (3, 5, 7)
        assert 1.0 <= point.overrides["search.arch_reach"] <= 8.0
        assert point.overrides["growth.patience"] in (1, 2, 3, 4)


def test_the_same_seed_gives_the_same_study(tmp_path: Path) -> None:
    assert run(study(tmp_path / "one.db")) == run(study(tmp_path / "two.db"))


def test_a_study_goes_on_where_it_was(tmp_path: Path) -> None:
    run(study(tmp_path / "sweeps.db", trials=2))
    again = study(tmp_path / "sweeps.db", trials=5)
    assert [point.number for point in run(again)] == [2, 3, 4]
    assert len(again.tried()) == 5


def test_a_trial_whose_run_was_killed_is_tried_again(tmp_path: Path) -> None:
    lost = study(tmp_path / "sweeps.db").ask()
    assert lost
    again = study(tmp_path / "sweeps.db").ask()
    assert again
    assert (again.overrides, again.number) == (lost.overrides, lost.number + 1)


def test_a_study_of_something_else_is_not_gone_on_with(tmp_path: Path) -> None:
    study(tmp_path / "sweeps.db")
    with pytest.raises(RunError, match=r"the study 'a-study' is of another objective"):
        study(tmp_path / "sweeps.db", objective="derive.test_accuracy")


def test_points_that_always_fail_are_not_followed_by_others_for_ever(tmp_path: Path) -> None:
    proposals = study(tmp_path / "sweeps.db", trials=3)
    asked = 0
    while point := proposals.ask():
        asked += 1
        proposals.tell(Tried(point=point, state="Failed"))
    assert asked == 3


def test_a_trial_is_hopeless_only_late_and_only_beside_better_ones(tmp_path: Path) -> None:
    proposals = study(tmp_path / "sweeps.db")
    for value in (0.7, 0.8, 0.9):
        point = proposals.ask()
        assert point
        assert not any(proposals.is_hopeless(point, epoch, value) for epoch in (1, 2, 3))
        proposals.tell(Tried(point=point, state="Completed", value=value))
    point = proposals.ask()
    assert point
    assert not proposals.is_hopeless(point, 1, 0.1)
    assert proposals.is_hopeless(point, 3, 0.1)
    proposals.tell(Tried(point=point, state="Pruned"))
    assert proposals.tried()[-1].state == "Pruned"
