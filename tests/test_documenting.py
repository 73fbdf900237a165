"""The page and the schema of the params say what the models say, and what they refuse."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pipeline.default_run import README, RESULTS, with_figures
from pipeline.documenting import PAGE, PROFILE, SCHEMA, page, schema
from pipeline.harness.errors import ParamsError, RunError
from pipeline.harness.params_file import PARAMS_FILE, parse_params
from pipeline.harness.plain_yaml import plain_values
from pipeline.params import Params
from pipeline.profiles import read_profile
from pipeline.running.graph import Stage, read_graph

ROOT = Path(__file__).resolve().parents[1]
FILES = [ROOT / "params.yaml", *sorted((ROOT / "profiles").glob("*.yaml"))]
VALIDATOR = Draft202012Validator(json.loads(schema()))
GOOD = plain_values((ROOT / "params.yaml").read_text(), "params.yaml")
KEYS = [(section, key) for section, keys in GOOD.items() if section != "seed" for key in keys]


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_what_is_committed_is_what_the_models_say_now() -> None:
    assert PAGE.read_text() == page(read_graph(ROOT)), "run 'make params'"
    assert SCHEMA.read_text() == schema(), "run 'make params'"
    assert PARAMS_FILE.read_text() == read_profile(ROOT, PROFILE), "run 'make params'"


@pytest.mark.parametrize("document", [README, RESULTS])
def test_the_figures_of_the_default_run_are_those_of_its_metrics(document: Path) -> None:
    assert document.read_text() == with_figures(ROOT, document), "run 'make figures'"


def test_other_metrics_are_other_figures_and_nothing_else_changes(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "artifacts", tmp_path / "artifacts")
    (tmp_path / "docs").mkdir()
    for document in (README, RESULTS):
        shutil.copy(ROOT / document, tmp_path / document)
    path = tmp_path / "artifacts" / "derive" / "metrics.json"
    metrics = json.loads(path.read_text())
    path.write_text(json.dumps({**metrics, "test_accuracy": 0.5, "parameters": 1234567}))
    readme, results = (with_figures(tmp_path, document) for document in (README, RESULTS))
    assert "\ntest accuracy 50.0% of 360 images (95 % interval " in readme
    assert "- Test accuracy 50.0% of 360 images (95 % interval " in results
    assert "1,234,567 parameters" in results.replace("\n ", "")
    for text, document in ((readme, README), (results, RESULTS)):
        (tmp_path / document).write_text(text)
        before, after = (
            set((where / document).read_text().split("\n")) for where in (ROOT, tmp_path)
        )
        assert len(before - after) <= 3


def test_a_document_without_a_place_for_figures_is_refused(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "artifacts", tmp_path / "artifacts")
    (tmp_path / README).write_text("nothing\n")
    with pytest.raises(RunError, match=r"^README.md: has no line that begins with 'test accuracy'"):
        with_figures(tmp_path, README)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_file_of_params_is_valid_by_the_schema_that_it_names(path: Path) -> None:
    text = path.read_text()
    named = text.splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    document = json.loads((path.parent / named).read_text())
    Draft202012Validator.check_schema(document)
    Draft202012Validator(document).validate(plain_values(text, str(path)))


GRAPH = [
    Stage(name="first", description="", params=frozenset({"network"}), after=frozenset()),
    Stage(name="second", description="", params=frozenset({"search.epochs"}), after=frozenset()),
    Stage(name="third", description="", params=frozenset(), after=frozenset({"first"})),
]


def test_every_key_is_on_the_page_with_its_range_default_meaning_and_stages() -> None:
    text = page(GRAPH)
    for section, key in KEYS:
        assert re.search(rf"^- `{section}\.{key}` \(default `", text, re.MULTILINE)
    [entry] = re.findall(r"^- `network.cells`(?:.|\n)*?Reruns .*$", text, re.MULTILINE)
    assert entry.startswith("- `network.cells` (default `3`): cells at the start; those at 1/3")
    assert entry.endswith("  Values: whole number, at least 3, at most 64. Reruns first, third.")
    [entry] = re.findall(r"^- `search.epochs`.*\n.*", text, re.MULTILINE)
    assert entry.endswith(" Reruns second.")
    assert all(len(line) < 120 for line in text.splitlines())


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("search", "arch_upd_freq", 5),
        ("search", "arch_update_freq", 1),
        ("search", "arch_update_freq", "5"),
        ("search", "anneal_rate", "automatic"),
        ("data", "name", "cifar11"),
        ("warmup", "epochs", True),
        ("network", "channels", 7),
        ("growth", "kinds", ["shrink"]),
    ],
)
def test_an_editor_sees_a_key_a_type_or_a_value_that_cannot_be(
    section: str, key: str, value: object
) -> None:
    assert not VALIDATOR.is_valid({**GOOD, section: {**GOOD[section], key: value}})


@settings(max_examples=200)
@given(
    at=st.sampled_from(KEYS),
    value=st.one_of(
        st.integers(-3, 10**6),
        st.floats(-3, 300),
        st.sampled_from([None, True, "auto", "3", [], ["none", "skip_connect"], ["widen"], {}]),
    ),
)
def test_whatever_the_models_take_the_schema_takes(at: tuple[str, str], value: Any) -> None:
    section, key = at
    document = {**GOOD, section: {**GOOD[section], key: value}}
    try:
        parse_params(Params, json.dumps(document), "params.yaml", whole=True)
    except ParamsError:
        return
    VALIDATOR.validate(document)
