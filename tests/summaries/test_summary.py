"""The line about a phase says what converged, what is open, what growth gave and what it cost."""

import pytest

from pipeline.events.event import Event, read_events
from pipeline.harness.records import Row
from pipeline.summaries.summary import image_passes, summary
from tests.reporting.conftest import DEEPENED


def rows(*accuracies: float, column: str = "validation_accuracy") -> list[Row]:
    searched: Row = {"undecided_edges": 3, "genotype_changes": 1}
    return [{column: one, "image_passes": 600, **searched} for one in accuracies]


def growth(**changes: object) -> Event:
    [event] = read_events([{**DEEPENED, **changes}])
    return event


def test_a_phase_without_an_architecture_to_learn_tells_accuracy_and_cost() -> None:
    assert (
        summary(rows(0.2, 0.384)) == "validation accuracy from 20.0% to 38.4%; 1,200 image passes"
    )
    trained = rows(0.5, 0.9, column="train_accuracy")
    assert summary(trained).startswith("training accuracy from 50.0% to 90.0%;")


@pytest.mark.parametrize(
    ("accuracies", "late"),
    [((0.1, 0.5, 0.6, 0.62), "+2.0"), ((0.1, 0.7, 0.5, 0.4), "-10.0"), ([0.5] * 9, "+0.0")],
)
def test_it_tells_whether_accuracy_still_rose_in_the_end(
    accuracies: tuple[float, ...], late: str
) -> None:
    assert f", {late} points in the last quarter of the epochs;" in summary(rows(*accuracies))


def test_the_epochs_of_skip_connections_are_not_compared_with_those_of_other_paths() -> None:
    kinds = ("skip", "skip", "explore", "explore")
    warmup: list[Row] = [
        {**row, "phase": kind} for row, kind in zip(rows(0.4, 0.5, 0.1, 0.3), kinds, strict=True)
    ]
    assert summary(warmup) == "validation accuracy from 10.0% to 30.0%; 2,400 image passes"


def test_a_search_tells_what_is_decided_and_what_is_open() -> None:
    told = summary(rows(0.2, 0.3), edges=28)
    assert "; 25 of 28 edges are decided, 3 open; 1 changed in the last epoch; " in told
    decided: list[Row] = [{**row, "undecided_edges": 0} for row in rows(0.2, 0.3)]
    assert "; 28 of 28 edges are decided; " in summary(decided, edges=28)


def test_a_phase_that_keeps_its_best_epoch_says_which() -> None:
    trained: list[Row] = [
        {**row, "epoch": epoch} for epoch, row in enumerate(rows(0.1, 0.7, 0.7, 0.4), 31)
    ]
    assert "; the best epoch, 32, is kept: 70.0%; " in summary(trained, keeps_best=True)
    assert "kept" not in summary(trained)


def test_finalists_cost_too() -> None:
    finals = rows(0.1, 0.1, 0.1)
    assert image_passes(finals) == 1800
    assert summary(rows(0.2), finals=finals).endswith("; 2,400 image passes")


def test_growth_tells_what_each_growth_gave_or_that_nothing_grew() -> None:
    assert "; nothing grew; " in summary(rows(0.2), edges=28, growths=[])
    growths = [
        growth(),
        growth(kind="widen", channels=24, verdict="rolled back", accuracy_after=0.4),
        growth(kind="mutate", mutated=7, verdict="refused"),
    ]
    assert (
        "; deepen (3 cells) accepted: accuracy 50.0% to 60.0%"
        "; widen (24 channels) rolled back: accuracy 50.0% to 40.0%"
        "; mutate (7 edges) refused; "
    ) in summary(rows(0.2), edges=28, growths=growths)
