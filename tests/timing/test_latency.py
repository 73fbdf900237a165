"""Every part that a search may choose is measured, and a target of milliseconds then holds."""

import json
from pathlib import Path

import pytest

from pipeline.costing.latency import FILE, key, read_latency
from pipeline.costing.parts import parts_of
from pipeline.growing.params import GrowthParams
from pipeline.growing.policy import grown, has_room
from pipeline.harness.errors import ParamsError
from pipeline.params import Params
from pipeline.profiles import complete
from pipeline.running.overrides import replace
from pipeline.space.blueprint import plan
from pipeline.space.registry import SPACES
from pipeline.targeting.budget import read_budget
from pipeline.targeting.params import TargetParams
from pipeline.timing.command import parts_in, reachable, write_latency
from pipeline.timing.measuring import measure
from stages import check
from tests.conftest import of_space, tiny, tiny_blueprint

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    "network.cells": 3,
    "network.nodes": 1,
    "network.channels": 4,
    "network.stem_multiplier": 1,
    "network.operations": ["none", "skip_connect", "sep_conv_3x3"],
    "growth.kinds": ["widen"],
    "growth.max_channels": 6,
}


@pytest.mark.parametrize("space", SPACES)
def test_every_part_of_every_space_has_a_time(space: str) -> None:
    blueprint = tiny_blueprint(**of_space(space))
    deeper = grown(blueprint, "deepen", tiny(GrowthParams))
    parts = sorted({*parts_in(blueprint, (8, 8)), *parts_in(deeper, (8, 8))})
    done: list[int] = []
    found = measure(parts, space, tell=done.append)
    assert list(found) == parts
    assert done == list(range(1, len(parts) + 1))
    assert all(0 <= milliseconds < 10 for milliseconds in found.values())
    assert max(found.values()) > 0


@pytest.mark.parametrize("space", SPACES)
def test_all_blueprints_that_growth_can_reach_are_reached_once(space: str) -> None:
    start = tiny_blueprint(**of_space(space))
    params = tiny(GrowthParams, max_cells=5, max_channels=9)
    found = list(reachable(start, params))
    assert len(found) == len(set(found))
    assert start in found
    for blueprint in found:
        assert has_room(blueprint, params)
        for kind in params.kinds:
            after = grown(blueprint, kind, params)
            assert not has_room(after, params) or after in found


def test_the_command_writes_what_search_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(replace(complete("{}\n", "params.yaml"), SMALL))
    assert write_latency(Path()) == 0
    out = capsys.readouterr().out
    assert "parts of networks, one by one, on one thread" in out
    document = json.loads(FILE.read_text())
    assert "ONNX Runtime" in document["machine"]
    params = Params.model_validate(
        {**Params().model_dump(), "network": {**Params().network.model_dump(), **network()}}
    )
    blueprint = plan(params.network, image_channels=1, classes=10, image_size=8)
    known = read_latency(FILE)
    for parts in parts_of(blueprint, (8, 8)).choices.values():
        assert all(known.of(part, "darts") >= 0 for part in parts)
    budget = read_budget(TargetParams(milliseconds=1.0), (8, 8))
    assert budget.latency is not None


def network() -> dict[str, object]:
    """Return the keys of SMALL that are the network's."""
    named = {name.removeprefix("network."): value for name, value in SMALL.items()}
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in named.items()
        if not name.startswith("growth.")
    }


@pytest.mark.parametrize(
    "text", ["", "[]", '{"milliseconds": {}}', '{"machine": 1, "milliseconds": []}']
)
def test_a_file_that_is_no_table_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ParamsError, match=r"not a table of milliseconds: .*; run 'aso-se latency'"):
        read_latency(tmp_path / FILE)


def test_a_part_that_was_not_measured_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"machine": "none", "milliseconds": {}}')
    [part, *_] = parts_of(tiny_blueprint(), (8, 8)).fixed
    with pytest.raises(ParamsError) as refused:
        read_latency(tmp_path / FILE).of(part, "darts")
    assert key(part, "darts") in str(refused.value)


def test_check_refuses_milliseconds_before_anything_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    params = Params(target=TargetParams(milliseconds=1.0))
    with pytest.raises(ParamsError, match=r"latency.json: cannot be read: .*'aso-se latency'"):
        check.main(params, tmp_path / "check")
    FILE.write_text((ROOT / FILE).read_text())  # as it is shipped
    with pytest.raises(ParamsError, match=r"target.milliseconds: latency.json has no measurement"):
        check.main(params, tmp_path / "check")
    check.main(Params(), tmp_path / "check")
    assert (tmp_path / "check" / "params.txt").exists()
