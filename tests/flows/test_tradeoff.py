"""The picture of a sweep joins the networks that none beats at no higher cost."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.flows.tradeoff import Point, draw_tradeoff, front
from pipeline.running.results import cost_in

POINTS = st.lists(
    st.builds(
        Point,
        label=st.just("a network"),
        cost=st.integers(1, 9).map(float),
        value=st.integers(0, 9).map(float),
    ),
    min_size=1,
    max_size=9,
)


@given(POINTS, st.booleans())
def test_every_network_is_on_the_front_or_beaten_by_one_on_it(
    points: list[Point], maximize: bool
) -> None:
    best = front(points, maximize=maximize)
    sign = 1 if maximize else -1
    assert [one.cost for one in best] == sorted({one.cost for one in best})
    for one in points:
        reached = max(sign * other.value for other in best if other.cost <= one.cost)
        assert reached >= sign * one.value
    for one in best:
        others = [other for other in points if other.cost <= one.cost and other != one]
        assert all(sign * other.value < sign * one.value for other in others)


@given(POINTS)
def test_every_network_is_drawn_and_the_axes_say_what_they_show(points: list[Point]) -> None:
    figure = draw_tradeoff(points, cost="mflops", objective="derive.test_accuracy", maximize=True)
    [axes] = figure.axes
    assert len(axes.lines) == 1 + len(points)
    assert axes.get_xlabel() == "million multiply-adds per image"
    assert axes.get_ylabel() == "derive.test_accuracy"


def test_kilobytes_are_a_thousand_bytes_and_unknown_costs_are_none() -> None:
    assert cost_in({"export.onnx_bytes": 2500}, "kilobytes") == 2.5
    assert cost_in({}, "kilobytes") is None
    assert cost_in({"export.target.milliseconds.estimated": 0.2}, "milliseconds") == 0.2
