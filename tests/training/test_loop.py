"""A phase that goes wrong returns to its last good epoch, a limited number of times."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.harness.errors import CheckpointError, TrainingFailedError
from pipeline.harness.records import Row
from pipeline.space.params import NetworkParams
from pipeline.supernet.supernet import Supernet
from pipeline.training.loop import run
from pipeline.training.resume import Points
from pipeline.training.stability import Expected
from pipeline.warming.params import WarmupParams
from pipeline.warming.warm import Warmup
from tests.conftest import context, tiny
from tests.phases import PHASES, Told

EXPECTED = Expected(classes=10, accuracy="accuracy", images=10**4, edges=28)
GOOD: Row = {"train_loss": 1.0, "accuracy": 0.5, "share_skip_connect": 0.3}


@pytest.fixture
def attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a function that runs a phase with scripted epochs, by epoch and slowdown."""
    monkeypatch.chdir(tmp_path)

    def attempt(
        does: Callable[[int, float], Row], *, epochs: int = 4, most: int = 3, patience: int = 0
    ) -> Any:
        given, expected = context(max_recoveries=most), replace(EXPECTED, patience=patience)
        phase = Told(does=does, epochs=epochs, context=given, expected=expected)
        state, history = run(phase, Points("search", tmp_path / "points"))
        assert state == {"epoch": len(history)}
        assert len(history) == epochs or patience
        assert [row["epoch"] for row in history] == list(range(1, len(history) + 1))
        return history

    return attempt


def failing(at: int, unless: float, **bad: float) -> Callable[[int, float], Row]:
    """Return epochs of which one is bad until the learning rates are low enough."""

    def does(epoch: int, slowdown: float) -> Row:
        if epoch == at and slowdown > unless:
            if not bad:
                raise TrainingFailedError("the loss is nan")
            return {**GOOD, **bad}
        return GOOD

    return does


def test_a_healthy_phase_is_left_alone(attempt: Callable[..., Any]) -> None:
    history = attempt(lambda *_: GOOD)
    assert {(row["recoveries"], row["verdict"], row["health"]) for row in history} == {(0, "", 1.0)}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({}, "epoch 3: the loss is nan"),
        ({"train_loss": 1e4}, "epoch 3: exploded (loss 10000.000"),
        ({"accuracy": 0.1}, "epoch 3: degraded (loss 1.000"),
        ({"share_skip_connect": 0.99}, "epoch 3: collapsed (loss 1.000"),
    ],
)
def test_an_epoch_that_went_wrong_does_not_count_and_the_rates_are_halved(
    bad: dict[str, float],
    reason: str,
    attempt: Callable[..., Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    history = attempt(failing(3, 0.3, **bad))
    assert [row["recoveries"] for row in history] == [0, 0, 2, 2]
    assert [row["slowdown"] for row in history] == [1.0, 1.0, 0.25, 0.25]
    assert {row["verdict"] for row in history} == {""}
    said = [line for line in capsys.readouterr().out.splitlines() if "of at most 3" in line]
    assert len(said) == 2
    assert said[0].startswith(f"search: {reason}")
    assert said[0].endswith("going on at 0.5 times the learning rates (1 of at most 3 times)")


def test_the_first_epoch_begins_anew(attempt: Callable[..., Any]) -> None:
    history = attempt(failing(1, 0.6))
    assert [row["slowdown"] for row in history] == [0.5] * 4


@pytest.mark.parametrize("bad", [{}, {"train_loss": 1e4}, {"accuracy": 0.1}])
def test_what_goes_wrong_again_and_again_ends_in_one_clear_line(
    bad: dict[str, float], attempt: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(TrainingFailedError, match=r"^search: epoch 3: .* learning") as caught:
        attempt(failing(3, 0.0, **bad), most=2)
    assert "at 0.25 times" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(list((tmp_path / "points").iterdir())) == 2  # what was good is kept


def test_an_architecture_that_collapses_nevertheless_is_recorded_not_refused(
    attempt: Callable[..., Any],
) -> None:
    history = attempt(failing(3, 0.0, share_skip_connect=0.99), most=1)
    assert [row["verdict"] for row in history] == ["", "", "collapsed", ""]
    assert history[2]["health"] == 0.3


def test_no_recovery_is_one_that_a_user_may_want(attempt: Callable[..., Any]) -> None:
    with pytest.raises(TrainingFailedError, match=r"^search: epoch 2: the loss is nan"):
        attempt(failing(2, 0.9), most=0)


def test_oscillation_halves_the_rates_and_loses_nothing(attempt: Callable[..., Any]) -> None:
    def swinging(epoch: int, slowdown: float) -> Row:
        swing = 0.4 * (-1) ** epoch if slowdown == 1.0 else 0.0
        return {**GOOD, "train_loss": 1.0 + swing}

    history = attempt(swinging, epochs=9)
    assert [row["slowdown"] for row in history] == [1.0] * 6 + [0.5] * 3
    assert history[5]["verdict"] == "oscillating"
    assert [row["recoveries"] for row in history] == [0] * 6 + [1] * 3


@pytest.mark.parametrize("most", [1, 3])
def test_the_rows_after_an_oscillation_do_not_depend_on_where_it_was_killed(
    most: int, attempt: Callable[..., Any], tmp_path: Path
) -> None:
    def swinging(epoch: int, _: float) -> Row:
        return {**GOOD, "train_loss": 1.0 + 0.4 * (-1) ** epoch}

    whole = attempt(swinging, epochs=15, most=most)
    assert [row["recoveries"] for row in whole][::6] == [0, 1, min(2, most)]
    for path in (tmp_path / "points").iterdir():
        path.unlink()
    for last in (7, 13, 15):

        def killed(epoch: int, slowdown: float, last: int = last) -> Row:
            if epoch == last:
                raise KeyboardInterrupt
            return swinging(epoch, slowdown)

        with pytest.raises(KeyboardInterrupt):
            attempt(killed, epochs=15, most=most)
    assert attempt(swinging, epochs=15, most=most) == whole


def test_a_phase_that_was_killed_after_a_recovery_still_knows_of_it(
    attempt: Callable[..., Any],
) -> None:
    def killed(epoch: int, slowdown: float) -> Row:
        if epoch == 4:
            raise KeyboardInterrupt
        return failing(2, 0.6)(epoch, slowdown)

    with pytest.raises(KeyboardInterrupt):
        attempt(killed)
    history = attempt(failing(2, 0.6))
    assert [row["slowdown"] for row in history] == [1.0, 0.5, 0.5, 0.5]
    assert [row["recoveries"] for row in history] == [0, 1, 1, 1]


def test_the_rows_of_a_phase_that_recovered_do_not_depend_on_where_it_was_killed(
    attempt: Callable[..., Any], tmp_path: Path
) -> None:
    whole = attempt(failing(3, 0.3))
    for path in (tmp_path / "points").iterdir():
        path.unlink()

    def killed(epoch: int, slowdown: float) -> Row:
        if slowdown == 0.5:
            raise KeyboardInterrupt
        return failing(3, 0.3)(epoch, slowdown)

    with pytest.raises(KeyboardInterrupt):
        attempt(killed)
    assert attempt(failing(3, 0.3)) == whole


class Ending(Told):
    """A phase that has nothing more to do after it was resumed."""

    def train(self, *_: object) -> Iterator[Row]:
        return iter(())


def pointed(folder: Path, state: object, **last: object) -> Points:
    """Return the points of a phase after two epochs; last: changes to the row of the second."""
    row: dict[str, Any] = {"train_loss": 1.0, "recoveries": 0, "verdict": "", "health": 1.0}
    rows = iter([{"epoch": 1, **row}, {"epoch": 2, **row, **last}])
    points = Points("search", folder / "points")
    list(points.after_each(rows, [], lambda: {"epoch": state}))
    return points


@pytest.mark.parametrize("recoveries", [0, 1, 99])
@pytest.mark.parametrize("verdict", ["", "oscillating"])
def test_a_resume_point_after_which_nothing_comes_is_one_line_not_an_endless_loop(
    verdict: str, recoveries: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    phase = Ending(does=lambda *_: GOOD, context=context(max_recoveries=3))
    points = pointed(tmp_path, 2, recoveries=recoveries, verdict=verdict)
    with pytest.raises(CheckpointError, match=r"points: its newest .* does not fit search; re"):
        run(phase, points)


@pytest.mark.parametrize(
    ("state", "last"),
    [
        (3, {}),
        ("two", {}),
        (-2, {}),
        (2, {"epoch": 3}),
        (2, {"recoveries": "none"}),
        (2, {"recoveries": -1}),
        (2, {"verdict": "fine"}),
        (2, {"train_loss": float("nan")}),
        (2, {"health": 7.0}),
    ],
)
def test_a_resume_point_that_a_phase_cannot_have_saved_is_one_line(
    state: object, last: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError) as refused:
        run(Told(does=lambda *_: GOOD), pointed(tmp_path, state, **last))
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(("patience", "epochs"), [(0, 9), (1, 3), (2, 4), (3, 8), (9, 9)])
def test_a_phase_ends_after_as_many_epochs_without_a_better_accuracy_as_it_has_patience(
    patience: int, epochs: int, attempt: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    accuracies = [0.5, 0.6, 0.6, 0.59, 0.7, 0.7, 0.65, 0.7, 0.7]
    for run_as in ("a whole", "a resumed one"):
        rows = attempt(
            lambda epoch, _: {**GOOD, "accuracy": accuracies[epoch - 1]},
            epochs=9,
            patience=patience,
        )
        assert len(rows) == epochs, run_as
    said = f"search: ends after {epochs} of 9 epochs: {patience} without a better accuracy"
    assert (said in capsys.readouterr().out) == (epochs < 9)


def test_a_phase_that_is_out_of_patience_does_not_go_on_because_its_loss_oscillates(
    attempt: Callable[..., Any],
) -> None:
    def swinging(epoch: int, _: float) -> Row:
        return {**GOOD, "train_loss": 1.0 + 0.4 * (-1) ** epoch}

    rows = attempt(swinging, epochs=15, patience=5)
    assert [len(rows), rows[-1]["verdict"]] == [6, "oscillating"]
    assert attempt(swinging, epochs=15, patience=5) == rows


@pytest.mark.parametrize("name", ["warmup", "search", "growth that is accepted", "optimize"])
def test_a_slowdown_is_a_factor_on_the_learning_rate_of_every_phase(
    name: str, checkpoint: Path
) -> None:
    phase = PHASES[name](checkpoint)
    full, slow = (
        float(next(phase.train(phase.begin(), slowdown, []))["learning_rate"])
        for slowdown in (1.0, 0.25)
    )
    assert slow == pytest.approx(full / 4)


class Spoilt(Warmup):
    """Warmup whose third epoch begins with a weight of NaN, at full learning rates."""

    def train(self, state: Supernet, slowdown: float, done: Sequence[Row]) -> Iterator[Row]:
        for row in super().train(state, slowdown, done):
            yield row
            if state.epoch == 2 and slowdown == 1.0:
                state.network.head.weight.data[0, 0] = float("nan")


def test_a_real_phase_whose_weights_explode_recovers_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    phase = Spoilt(
        context=context(gradient_clip=1e9, max_recoveries=1),
        network=tiny(NetworkParams),
        params=tiny(WarmupParams, epochs=4),
    )
    supernet, history = run(phase, Points("warmup", tmp_path / "points"))
    assert [row["recoveries"] for row in history] == [0, 0, 1, 1]
    assert history[2]["learning_rate"] < history[1]["learning_rate"] / 2
    assert all(tensor.isfinite().all() for tensor in supernet.network.state_dict().values())
    assert "warmup: epoch 3: the loss is nan; going on at 0.5 times" in capsys.readouterr().out
