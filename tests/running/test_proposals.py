from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.harness.errors import ParamsError, RunError
from pipeline.running.proposals import Point, Range, Study, Tried, grid, tpe

SPACE: dict[str, list[Any] | Range] = {
    "search.arch_update_freq": [3, 5, 7],
    "search.arch_reach": Range(low=1.0, high=8.0, log=True),
    "growth.patience": Range(low=1, high=4),
}


def study(file: Path, *, trials: int = 6, objective: str = "growth.validation_accuracy") -> Study:
    return tpe(
        file,
        "a-study",
        space=SPACE,
        direction="maximize",
        trials=trials,
        seed=42,
        first_epoch=2,
        facts={"objective": objective},
    )


def run(study: Study) -> list[Point]:
    """Try all points; the lower the reach, the better."""
    points = []
    while point := study.ask():
        value = -float(point.overrides.get("search.arch_reach", 0))
        study.tell(Tried(point=point, state="Completed", value=value))
        points.append(point)
    return points


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)


@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "c"]),
        st.lists(SCALARS | st.lists(SCALARS, max_size=2), min_size=1, max_size=3),
        min_size=1,
    )
)
def test_a_grid_has_every_combination_once_and_the_last_key_varies_fastest(
    values: dict[str, list[Any]],
) -> None:
    points = run(grid({**values}))
    assert [point.number for point in points] == list(range(len(points)))
    expected = [dict(zip(values, one, strict=True)) for one in product(*values.values())]
    assert repr([dict(point.overrides) for point in points]) == repr(expected)  # 1 is not True


def test_a_grid_is_run_as_a_whole_and_reports_how_each_point_did() -> None:
    study = grid({"a": [1, 2, 3, 4, 5], "b": [[True]]})
    values = (0.9, 0.8, 0.7, None, 0.1)
    for value in values:
        point = study.ask()
        assert point
        assert not any(study.is_hopeless(point, epoch, 0.1) for epoch in range(9))
        study.tell(Tried(point=point, state="Completed" if value else "Failed", value=value))
    assert study.ask() is None
    assert [one.value for one in study.tried()] == list(values)
    assert [one.state for one in study.tried()].index("Failed") == 3
    assert [one.point.overrides["a"] for one in study.tried()] == [1, 2, 3, 4, 5]


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


def test_a_study_tries_lists_too(tmp_path: Path) -> None:
    kinds = [["deepen"], ["widen"], ["deepen", "widen"], None, True, 1]
    settings: dict[str, Any] = {"direction": "maximize", "seed": 1, "first_epoch": 0, "facts": {}}
    space = {"growth.kinds": kinds}
    for trials in (8, 16):
        proposals = tpe(tmp_path / "sweeps.db", "kinds", space=space, trials=trials, **settings)
        assert all(point.overrides["growth.kinds"] in kinds for point in run(proposals))
    tried = [one.point.overrides["growth.kinds"] for one in proposals.tried()]
    assert len(tried) == 16
    assert ["deepen"] in tried


def test_a_trial_whose_run_was_killed_is_tried_again(tmp_path: Path) -> None:
    lost = study(tmp_path / "sweeps.db").ask()
    assert lost
    again = study(tmp_path / "sweeps.db").ask()
    assert again
    assert (again.overrides, again.number) == (lost.overrides, lost.number + 1)


def test_a_study_of_something_else_is_not_gone_on_with(tmp_path: Path) -> None:
    study(tmp_path / "sweeps.db")
    with pytest.raises(RunError, match=r"the study 'a-study' has another objective"):
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
    assert not proposals.is_hopeless(point, 1, 0.9)  # it began anew
    proposals.tell(Tried(point=point, state="Pruned"))
    assert proposals.tried()[-1].state == "Pruned"
