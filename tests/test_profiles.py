"""Profiles hold differences; `params.yaml` made from one is complete and as DVC writes it."""

import re
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.hydra import apply_overrides
from hypothesis import given
from hypothesis import strategies as st

from pipeline.harness.errors import ParamsError
from pipeline.harness.params_file import read_params, validate
from pipeline.harness.plain_yaml import plain_values
from pipeline.params import Params
from pipeline.profiles import complete, read_profile
from pipeline.running.overrides import replace

ROOT = Path(__file__).resolve().parents[1]
NAMES = sorted(path.stem for path in (ROOT / "profiles").glob("*.yaml"))
DEFAULTS = Params().model_dump(mode="json")
KEYS = [(section, key) for section in DEFAULTS if section != "seed" for key in DEFAULTS[section]]
every_profile = pytest.mark.parametrize("name", NAMES)


def differences(name: str) -> dict[str, dict[str, Any]]:
    path = ROOT / "profiles" / f"{name}.yaml"
    return plain_values(path.read_text(), path.name)


def changed(before: str, after: str) -> list[tuple[str, str]]:
    """Return the pairs of lines that differ."""
    pairs = zip(before.splitlines(), after.splitlines(), strict=True)
    return [(old, new) for old, new in pairs if old != new]


@every_profile
def test_a_profile_is_whole_and_valid_with_its_differences(name: str) -> None:
    values = plain_values(read_profile(ROOT, name), name)
    validate(Params, values, name, whole=True)
    own = differences(name)
    for section, key in KEYS:
        expected = own.get(section, {}).get(key, DEFAULTS[section][key])
        assert repr(values[section][key]) == repr(expected)


@every_profile
def test_a_profile_holds_nothing_that_is_the_default(name: str) -> None:
    for section, values in differences(name).items():
        assert not [key for key, value in values.items() if value == DEFAULTS[section][key]]


@every_profile
def test_every_key_of_a_whole_file_has_a_comment_and_the_file_is_short(name: str) -> None:
    lines = read_profile(ROOT, name).splitlines()
    keys = [number for number, line in enumerate(lines) if re.match(r"  \w", line)]
    assert len(keys) == len(KEYS)
    # That of a list stands above it.
    assert all(" # " in lines[number] or "  # " in lines[number - 1] for number in keys)
    assert len(lines) < 200
    assert max(map(len, lines)) < 120


@every_profile
@pytest.mark.parametrize("value", [[], ["widen"], ["widen", "deepen", "mutate"]])
def test_a_list_can_be_set_with_dvc(name: str, value: list[str], tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(read_profile(ROOT, name))
    apply_overrides(path, [f"growth.kinds=[{','.join(value)}]"])
    assert read_params(Params, path, whole=True).growth.kinds == tuple(value)


@every_profile
def test_setting_a_param_with_dvc_changes_one_line(name: str, tmp_path: Path) -> None:
    text = read_profile(ROOT, name)
    path = tmp_path / "params.yaml"
    for key, value in (("search.arch_update_freq", 3), ("reference.backbone", "resnet18")):
        path.write_text(text)
        apply_overrides(path, [f"{key}={value}"])  # what `dvc exp run -S` does
        ((old, new),) = changed(text, path.read_text())
        assert old.split("#")[1] == new.split("#")[1]
        assert replace(text, {key: value}) == path.read_text()


@given(st.sampled_from(NAMES), st.sampled_from(KEYS))
def test_an_override_changes_one_line(name: str, place: tuple[str, str]) -> None:
    text = read_profile(ROOT, name)
    assert replace(text, {}) == text
    section, key = place
    value = "x" if not isinstance(DEFAULTS[section][key], list) else ["none"]
    after = replace(text, {f"{section}.{key}": value})
    if isinstance(value, str):
        ((_, new),) = changed(text, after)
        assert new.startswith(f"  {key}: x ")
    assert after.count("#") == text.count("#")


def test_a_comment_of_a_profile_takes_the_place_of_the_models() -> None:
    text = complete(
        "# What it is for.\n\nseed: 7  # lucky\n# Long.\nsearch:\n  # First.\n  # Second.\n"
        "  epochs: 3\n  sampling: hard  # as said\ndata:\n  path: 'a # b'  # odd\n"
        "growth:\n  kinds:  # one\n  - widen\n",
        "here",
    )
    for part in (
        "\n# What it is for.\n#\n# Everything that changes",
        "\nseed: 7                       # lucky\n",
        "\n\n# Long.\nsearch:\n",
        "\n  # First.\n  # Second.\n  epochs: 3\n",
        "\n  sampling: hard              # as said\n",
        "\n  path: 'a # b'               # odd\n",
        "\n  # one\n  kinds:\n  - widen\n",
    ):
        assert part in text
    assert replace(text, {}) == text


TEXT = st.characters(codec="utf-8", exclude_categories=["C", "Z"]) | st.sampled_from(" #:'\"\n")


@given(st.text(TEXT, min_size=1, max_size=200))
def test_any_text_that_is_a_value_comes_through(path: str) -> None:
    try:
        text = replace("data: {}", {"data.path": path})
        plain_values(text, "here")
    except (ParamsError, UnicodeError):
        return
    values = plain_values(complete(text, "here"), "here")
    assert values["data"]["path"] == path


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("search: {arch_reech: 3}", "search.arch_reech: unknown key; did you mean 'arch_reach'?"),
        ("search: 3", "search: expected a section with keys, got 3"),
        ("search: {epochs: 0}", "search.epochs: expected greater than or equal to 1, got 0"),
        ("# nothing", "expected sections such as 'network:', got NoneType"),
    ],
)
def test_a_mistake_in_a_profile_is_named(text: str, line: str) -> None:
    with pytest.raises(ParamsError) as refused:
        complete(text, "here")
    assert str(refused.value) == f"here: {line}"


def test_a_stage_takes_no_default_for_what_its_file_lacks(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    lines = (ROOT / "params.yaml").read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if "arch_reach:" not in line))
    with pytest.raises(ParamsError) as refused:
        read_params(Params, path)
    assert str(refused.value) == f"{path}: search.arch_reach: missing; add 'arch_reach: 14.0'"
