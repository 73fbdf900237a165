from typing import Any

import pytest
from prefect.client.schemas.objects import State

from pipeline.flows import nightly
from tests.flows.conftest import Server
from tests.toy import Toy

pytestmark = pytest.mark.xdist_group("toy")


def run(frequency: int, **parameters: Any) -> State[Any]:
    overrides = {"search.arch_update_freq": frequency}
    return nightly(
        overrides=overrides, metric="export.test_accuracy", **parameters, return_state=True
    )


def test_a_night_registers_its_model_only_if_it_is_better(server: Server, toy: Toy) -> None:
    registered = toy.folder / "registered/current/model.onnx"
    assert server.states(run(3), 5)["register"] == "Registered"
    assert registered.read_text() == "a model of 0.2"
    assert server.states(run(4, min_gain=0.5), 5)["register"] == "Kept"
    assert registered.read_text() == "a model of 0.2"
    state = run(4, min_gain=0.05)
    assert server.states(state, 5)["register"] == "Registered"
    assert registered.read_text() == "a model of 0.1"
    assert "export.test_accuracy 0.9, the registered model has 0.8" in server.log(state, "register")
    assert state.result()["export.test_accuracy"] == 0.9
