"""What the project says to Prefect: prefect.toml and prefect.yaml."""

import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from zoneinfo import ZoneInfo

from prefect import Flow
from prefect.schedules import Cron
from prefect.settings import get_current_settings
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
DEPLOYMENTS = {
    deployment["name"]: deployment
    for deployment in YAML(typ="safe").load((ROOT / "prefect.yaml").read_text())["deployments"]
}
SETTINGS = """
from prefect.settings import get_current_settings
settings = get_current_settings()
print(settings.server.analytics_enabled, settings.server.api.host, settings.worker.webserver.host)
import pipeline.flows, os
from prefect._internal.analytics.enabled import is_telemetry_enabled
print(is_telemetry_enabled())
"""


def test_in_the_project_telemetry_is_off_and_servers_are_for_this_machine_only(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SETTINGS],
        cwd=ROOT,
        env={"HOME": "/nonexistent", "PREFECT_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False 127.0.0.1 127.0.0.1\nFalse\n"


def test_no_setting_is_one_that_prefect_does_not_know() -> None:
    def check(table: dict[str, object], model: object) -> None:
        for key, value in table.items():
            assert hasattr(model, key), key
            if isinstance(value, dict):
                check(value, getattr(model, key))

    check(tomllib.loads((ROOT / "prefect.toml").read_text()), get_current_settings())


def test_every_deployment_names_a_flow_and_parameters_that_it_takes() -> None:
    assert DEPLOYMENTS.keys() == {"nightly", "reproduce", "experiment", "sweep", "trial"}
    for name, deployment in DEPLOYMENTS.items():
        module, _, attribute = deployment["entrypoint"].partition(":")
        flow = getattr(import_module(module), attribute)
        assert isinstance(flow, Flow)
        assert flow.name == name
        if name != "trial":  # a sweep gives its parameters
            flow.validate_parameters(deployment.get("parameters", {}))


def test_nightly_runs_at_night_one_at_a_time() -> None:
    nightly = DEPLOYMENTS["nightly"]
    (schedule,) = nightly["schedules"]
    Cron(schedule["cron"], timezone=schedule["timezone"])
    ZoneInfo(schedule["timezone"])
    assert nightly["concurrency_limit"]["limit"] == 1
