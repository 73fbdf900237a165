import time
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.schemas.objects import State

from pipeline.flows import reproduce
from pipeline.flows.reproducing import run_dvc
from pipeline.running.recorded import read_stages
from tests.flows.conftest import Server
from tests.running.test_two_clones import on_another_cpu
from tests.toy import ROOT, STAGES, Toy, behave
from tests.writers import add_writers, put_back

pytestmark = pytest.mark.xdist_group("toy")


def run(**parameters: Any) -> State[Any]:
    return reproduce(**parameters, return_state=True)


def test_of_an_up_to_date_tree_every_task_is_cached(server: Server, toy: Toy) -> None:
    state = run()
    assert state.is_completed()
    assert server.states(state, 4) == dict.fromkeys(STAGES, "Cached")
    assert toy.ran() == []


def test_only_what_an_override_touches_runs_and_its_metrics_come_back(
    server: Server, toy: Toy
) -> None:
    state = run(overrides={"search.arch_update_freq": 3})
    assert state.result()["export.test_accuracy"] == 0.8
    assert server.states(state, 4) == {
        "prepare": "Cached",
        "warmup": "Cached",
        "search": "Completed",
        "export": "Completed",
    }
    assert toy.ran() == ["search", "export"]
    assert "arch_update_freq: 3  " in (toy.folder / "params.yaml").read_text()
    assert "arch_update_freq: 5  " in (toy.folder / "params.yaml.before").read_text()


def test_the_lines_of_a_stage_are_in_the_log_at_their_level_without_secrets(
    server: Server, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", "abracadabra")
    state = run(overrides={"search.arch_update_freq": 3})
    log = server.log(state, "export: a warning")
    assert "20 search: hello ***" in log
    assert "20 search 2/2: an epoch" in log
    assert "30 search: a warning" in log
    assert "abracadabra" not in log


def test_what_a_run_did_is_published(server: Server, toy: Toy) -> None:
    run(overrides={"search.arch_update_freq": 3})
    rows = server.artifact("reproduce-stages")
    assert [(row["stage"], row["state"]) for row in rows] == [
        ("prepare", "Cached"),
        ("warmup", "Cached"),
        ("search", "Completed"),
        ("export", "Completed"),
    ]
    assert rows[2]["result"] == "validation accuracy 0.8"
    assert rows[2]["seconds"] > 0
    assert server.artifact("reproduce-model-card") == "# A model\n"
    picture = server.artifact("reproduce-pictures")
    assert "## export: cell" in picture
    assert "data:image/svg+xml;base64,PHN2Zy8+" in picture
    assert server.artifact("progress-search") == 100.0


def test_forcing_runs_every_stage(server: Server, toy: Toy) -> None:
    state = run(force=True)
    assert server.states(state, 4) == dict.fromkeys(STAGES, "Completed")
    assert toy.ran() == STAGES


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"overrides": {"search.arch_upd_freq": 3}}, "did you mean 'arch_update_freq'?"),
        ({"overrides": {"search.epochs": "many"}}, "search.epochs: expected a valid integer"),
        ({"profile": "imagenet"}, "profiles/imagenet.yaml: no such profile; there are: cifar10"),
        ({"push": True}, "push: this project has no default DVC remote"),
    ],
)
def test_a_mistake_fails_the_run_in_one_line_before_anything_starts(
    server: Server, toy: Toy, parameters: dict[str, Any], says: str
) -> None:
    before = (toy.folder / "params.yaml").read_text()
    state = run(**parameters)
    assert state.is_failed()
    assert says in str(state.message)
    assert "\n" not in str(state.message)
    assert server.states(state, 0) == {}
    assert (toy.folder / "params.yaml").read_text() == before
    assert "Traceback" not in server.log(state, "Finished in state")


@pytest.mark.parametrize("after", ["", "search 2/2: an epoch\n"])  # as if it came late
def test_a_stage_fails_with_its_own_line_and_is_not_tried_again(
    after: str, server: Server, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"code": 1, "says": "search: the data is bad", "after": after}
    monkeypatch.setenv("TOY", behave(search=told))
    state = run(overrides={"search.arch_update_freq": 3})
    assert state.message.splitlines()[-1] == "search: the data is bad"
    assert server.states(state, 3) == {
        "prepare": "Cached",
        "warmup": "Cached",
        "search": "Failed",
    }
    assert toy.ran() == ["search"]
    rows = server.artifact("reproduce-stages")
    assert [row["state"] for row in rows] == ["Cached", "Cached", "Failed", "Not run"]
    assert rows[2]["result"] == "search: the data is bad"


def test_a_stage_that_lacked_memory_is_tried_again_and_the_run_goes_on(
    server: Server, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.flows.stages.follow.retry_delay_seconds", [0.1])
    monkeypatch.setenv("TOY", behave(search={"code": 4, "says": "no memory", "once": True}))
    state = run(overrides={"search.arch_update_freq": 3})
    assert state.is_completed()
    assert toy.ran() == ["search", "search", "export"]
    assert server.states(state, 4)["search"] == "Completed"


def test_a_stage_over_its_time_is_ended_and_says_so(
    server: Server, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY", behave(search={"seconds": 60}))
    began = time.monotonic()
    state = run(overrides={"search.arch_update_freq": 3}, stage_hours=2 / 3600)
    assert time.monotonic() - began < 20
    assert "search: took longer than" in str(state.message)
    assert server.states(state, 3)["search"] == "TimedOut"
    assert Path(f"{toy.log}.resume").read_text() == "search"


def test_results_are_pushed_to_the_remote(server: Server, toy: Toy, tmp_path: Path) -> None:
    toy.dvc("remote", "add", "--default", "shared", str(tmp_path / "remote"))
    state = run(push=True)
    assert state.is_completed()
    assert server.states(state, 5)["push"] == "Completed"
    assert list((tmp_path / "remote").rglob("*"))


def test_a_remote_out_of_reach_is_tried_again_then_named(
    server: Server, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.flows.remote.attempt.retry_delay_seconds", [0.1])
    monkeypatch.setattr("pipeline.flows.remote.attempt.retries", 1)
    toy.dvc("remote", "add", "--default", "shared", "http://mary:wonder@127.0.0.1:9/remote")
    state = run(push=True)
    assert str(state.message).startswith("push: dvc push --run-cache:")
    log = server.log(state, "Retries are exhausted")
    assert "Retry 1/1 will start" in log
    assert "wonder" not in log


def test_a_file_that_was_put_back_before_dvc_recorded_it_fails_the_run(
    server: Server, toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    add_writers(toy)
    put_back(toy, two={"artifacts/two/result": "old"})
    state = run()
    assert state.is_failed()
    assert "artifacts/two/result: another command replaced it" in str(state.message)
    assert "two" not in read_stages(toy.folder)


def test_a_flow_restores_what_others_of_its_kind_of_cpu_have_computed(
    server: Server, toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY", behave(warmup={"kind": " elsewhere"}))
    for name, state in (("first", "Completed"), ("second", "Restored")):
        clone = on_another_cpu(toy, tmp_path / name)
        monkeypatch.chdir(clone.folder)
        assert server.states(run(), 4)["warmup"] == state
    assert toy.ran() == STAGES


def test_every_row_of_a_history_is_told_once_however_late_it_is_read(
    server: Server, toy: Toy
) -> None:
    told = []

    @flow
    def followed() -> None:
        run_dvc(toy.folder, key="told", on_epoch=lambda stage, row: told.append((stage, row)))

    toy.edit("arch_update_freq: 5", "arch_update_freq: 3")
    followed()
    assert [(stage, row["epoch"]) for stage, row in told] == [("search", "1"), ("search", "2")]
