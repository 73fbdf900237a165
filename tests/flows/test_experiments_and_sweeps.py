from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.objects import State

from pipeline.flows import experiment, sweep
from tests.flows.conftest import Server
from tests.toy import Toy, behave

pytestmark = pytest.mark.xdist_group("toy")
FREQUENCY = "search.arch_update_freq"


def run(**parameters: Any) -> State[Any]:
    return sweep(objective="search.validation_accuracy", **parameters, return_state=True)


def test_an_experiment_gives_metrics_and_model_and_leaves_the_tree_alone(
    server: Server, toy: Toy
) -> None:
    before = toy.run("git", "status", "--porcelain")
    state = experiment(name="three", overrides={FREQUENCY: 3}, return_state=True)
    found = state.result()
    assert found["metrics"]["export.test_accuracy"] == 0.8
    assert Path(found["model"]).read_text() == "a model of 0.2"
    assert server.states(state, 4)["search"] == "Completed"
    assert toy.ran() == ["search", "export"]
    assert toy.run("git", "status", "--porcelain") == before
    assert toy.dvc("exp", "list", "--name-only").split() == ["three"]
    assert server.artifact("three-stages")[2]["state"] == "Completed"


def test_an_experiment_whose_stage_fails_is_not_saved(
    server: Server, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY", behave(search={"code": 1, "says": "search: the data is bad"}))
    state = experiment(name="three", overrides={FREQUENCY: 3}, return_state=True)
    # On a busy machine the warning before it is read together with it, after the epochs' lines.
    assert state.message.splitlines()[-1] == "search: the data is bad"
    assert toy.dvc("exp", "list", "--name-only") == ""
    assert toy.run("git", "worktree", "list").count("\n") == 1


def test_a_sweep_ranks_a_grid_runs_what_it_shares_once_and_goes_on_where_a_point_fails(
    server: Server, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY", behave(export={"code": 1, "says": "export: bad", "once": True}))
    toy.edit("ramp_epochs: 6", "ramp_epochs: 5")
    found = run(space={FREQUENCY: [3, 4, 7]}, name="grid", max_parallel=2).result()
    states = [one["state"] for one in found["ranking"]]
    assert states == ["Completed", "Completed", "Failed"]
    done = [one["overrides"][FREQUENCY] for one in found["ranking"][:2]]
    assert done in ([4, 3], [4, 7], [3, 7])
    assert found["best"] == {FREQUENCY: done[0]}
    ran = toy.ran()
    assert {stage: ran.count(stage) for stage in ran} == {"warmup": 1, "search": 3, "export": 3}
    rows = server.artifact("grid-ranking")
    assert [(row["rank"], row[FREQUENCY]) for row in rows[:2]] == [(1, done[0]), (2, done[1])]


def test_a_sweep_whose_points_share_nothing_runs_only_its_points(server: Server, toy: Toy) -> None:
    toy.edit("ramp_epochs: 6", "ramp_epochs: 5")
    found = run(space={"seed": [1, 2]}, name="seeds", max_parallel=2).result()
    assert found["ran"]["prepare"] == toy.ran().count("prepare") == 2


def test_no_secret_in_the_error_of_a_trial_reaches_the_server(server: Server, toy: Toy) -> None:
    for path in toy.folder.glob("artifacts/*/metrics.json"):  # by which an objective is checked
        path.unlink()
    objective = "search.http://mary:CANARY12@host"
    state = sweep(space={FREQUENCY: [3]}, objective=objective, name="secret", return_state=True)
    assert server.states(state, 1)["secret-00"] == "Failed"
    messages = [one.state.message or "" for one in server.client.read_task_runs() if one.state]
    assert any("search.http://***@host: no such metric" in one for one in messages)
    assert not any("CANARY12" in one for one in messages)


def test_a_sweep_over_a_target_draws_what_each_network_costs_and_how_good_it_is(
    server: Server, toy: Toy
) -> None:
    space = {FREQUENCY: [3, 5], "target.kilobytes": [900.0]}
    found = run(space=space, name="costs").result()
    costs = [(one["value"], one["costs"]["kilobytes"]) for one in found["ranking"]]
    assert costs == [(1.0, 10.0), (0.8, 8.0)]
    assert found["picture"] == ".aso-se/sweeps/costs.svg"
    picture = Path(found["picture"]).read_text()
    assert "kilobytes of model.onnx" in picture
    assert "3, 900.0" in picture
    assert "data:image/svg+xml;base64," in server.artifact("costs-tradeoff")
    alone = run(space={FREQUENCY: [3]}, name="alone").result()
    assert alone["picture"] is None


def test_a_study_finds_the_best_value_and_goes_on_when_asked_for_more(
    server: Server, toy: Toy
) -> None:
    space = {FREQUENCY: {"low": 2, "high": 9}}
    first = run(space=space, name="study", trials=1).result()
    assert len(first["ranking"]) == 1
    second = run(space=space, name="study", trials=2).result()
    assert len(second["ranking"]) == 2
    values = [one["value"] for one in second["ranking"]]
    assert values == sorted(values, reverse=True)
    assert 1 - abs(second["best"][FREQUENCY] - 5) / 10 == pytest.approx(values[0])


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"space": {FREQUENCY: [3, "many"]}}, "arch_update_freq: expected a valid integer"),
        ({"space": {FREQUENCY: {"low": -3, "high": 4}}, "trials": 2}, "expected greater than"),
        ({"space": {FREQUENCY: {"low": 3, "high": 4}}}, "a range needs a number of trials"),
        ({"space": {}}, "space: names no param to sweep"),
        ({"space": {FREQUENCY: [3]}, "name": "a b"}, "not a name for an experiment"),
    ],
)
def test_a_mistake_stops_a_sweep_before_anything_runs(
    server: Server, toy: Toy, parameters: dict[str, Any], says: str
) -> None:
    state = run(**parameters)
    assert state.is_failed()
    assert says in str(state.message)
    assert server.states(state, 0) == {}
